"""How often each fault is tried: a short form in every run of the tests, a long one with RELAY_FAULTS=long.

The short form runs beside other tests on a machine that others use: what is promised in seconds is measured there,
and held to in the long form.
"""

import os

LONG = os.environ.get("RELAY_FAULTS") == "long"


def rounds(short: int, long: int) -> int:
    """The number for this run."""
    return long if LONG else short


def within(seconds: float) -> float:
    """A promise in seconds, as far as this run can hold to it."""
    return seconds if LONG else 6 * seconds
