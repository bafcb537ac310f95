"""How often each fault is tried: a short form in every run of the tests, a long one with RELAY_FAULTS=long."""

import os

LONG = os.environ.get("RELAY_FAULTS") == "long"


def rounds(short: int, long: int) -> int:
    """The number for this run."""
    return long if LONG else short
