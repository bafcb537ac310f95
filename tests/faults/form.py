"""How often each fault is tried: a short form in every run of the tests, a long one with RELAY_FAULTS=long.

The short form runs beside other tests on a machine that others use: what is promised in seconds is measured there,
and held to in the long form.
"""

import os

import pytest

FRONTS = 2
LONG = os.environ.get("RELAY_FAULTS") == "long"


def rounds(short: int, long: int) -> int:
    """The number for this run."""
    return long if LONG else short


def workers(*, short: bool) -> pytest.MarkDecorator:
    """Each fault meets one process, and fronts with their engine: those in the short form, too, where the fault reaches
    what they do between them, and otherwise in the long form."""
    return pytest.mark.parametrize("workers", [0, FRONTS] if short or LONG else [0], ids="{} fronts".format)


def within(seconds: float) -> float:
    """A promise in seconds, as far as this run can hold to it."""
    return seconds if LONG else 6 * seconds
