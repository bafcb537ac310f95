"""Settings for every test."""

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is; what it finds does not depend on it.
settings.register_profile("relay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("relay")
