"""Settings for every test."""

import os

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is; what it finds does not depend on it.
settings.register_profile("relay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("relay")
LONGER = int(os.environ.get("RELAY_FUZZ", "0"))  # `make fuzz`: so many times the examples, and new ones each time


def examples(number: int, **given: int) -> settings:
    """Settings of a fuzz test: the same `number` of examples in every run of the suite, more in `make fuzz`."""
    return settings(max_examples=number * max(LONGER, 1), derandomize=not LONGER, **given)
