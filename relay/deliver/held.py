"""How the mail that a brake holds is found again: by the note it carries in the queue."""

from __future__ import annotations

import re

from relay.core.brakes import CREDENTIAL, STREAM, Trip
from relay.queue.store import BRAKE_NOTE, Filter

NOTE = re.compile(rf"{BRAKE_NOTE}([0-9a-f]+):")
SPECIAL = re.compile(r"[*?\[]")


def note_of(trip: Trip) -> str:
    """What stands beside held mail: who holds it."""
    return f"{BRAKE_NOTE}{trip.id}: {trip.rule}"


def brake_of(note: str) -> str:
    """The id of the brake in a note; "" when no brake holds it."""
    found = NOTE.match(note)
    return found[1] if found else ""


def queued_filter(trip: Trip) -> Filter:
    """The queued mail that a brake is to hold."""
    if trip.by == STREAM:
        return Filter(stream=trip.stream)
    if trip.by == CREDENTIAL:
        return Filter(stream=trip.stream, credential=trip.key)
    return Filter(stream=trip.stream, tag=(trip.by, SPECIAL.sub(r"[\g<0>]", trip.key)))


def held_filter(trip: Trip) -> Filter:
    """The mail that a brake holds, and nobody else does."""
    return Filter(stream=trip.stream, note=f"{BRAKE_NOTE}{trip.id}:*")
