"""X-Relay-Send-At: a message that is taken now and sent later.

The time is RFC 3339 (`2026-12-24T08:00:00+01:00`) or seconds since 1970. Its recipients become due then, and from
then on their time counts: retries, expiry, delay, the objective. It may be as far ahead as `send_ahead` of the
listener or the credential says, and no further than the stream's expiry.
"""

from __future__ import annotations

import datetime
import re

from relay.core.headers import Headers
from relay.core.reply import Reply, reply

NAME = "X-Relay-Send-At"
SECONDS = re.compile(r"\d{1,12}(\.\d{1,6})?")
EXAMPLES = "write it like 2026-12-24T08:00:00+01:00, or in seconds since 1970"


def read_send_at(headers: Headers) -> float | Reply:
    """When a message is to be sent (Unix s), 0 when it does not say; the refusal of what is no time."""
    values = [value for value in headers.all(NAME) if value]
    if not values:
        return 0.0
    if len(values) > 1:
        return reply(550, "5.6.0", f"{NAME} is given twice: a message is sent once")
    at = moment(values[0])
    return reply(550, "5.6.0", f"{NAME} {values[0][:40]!r} is no time; {EXAMPLES}") if at is None else at


def moment(text: str) -> float | None:
    """Unix seconds of RFC 3339 §5.6 date-time or of a number; None for anything else, a time without offset too."""
    if SECONDS.fullmatch(text):
        return float(text)
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo else None


def too_far(at: float, now: float, *, ahead_s: float, who: str, stream: str, expire_s: float) -> Reply | None:
    """The refusal of a time that is further ahead than `who` may ask for, or than the stream keeps mail."""
    if at <= now:
        return None
    if not ahead_s:
        return reply(550, "5.7.1", f"{who} may not use {NAME}; set send_ahead: in the relay's configuration")
    if at - now > ahead_s:
        return reply(550, "5.7.1", f"{NAME} is {_hours(at - now)} ahead; {who} may ask for {_hours(ahead_s)}")
    if at - now > expire_s:
        return reply(550, "5.7.1", f"{NAME} is {_hours(at - now)} ahead; stream {stream} keeps mail {_hours(expire_s)}")
    return None


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"
