"""What a client asks of the relay in headers of its own: X-Relay-Stream, X-Relay-Tag, X-Relay-Send-At and
X-Relay-Idempotency-Key.

They never leave the relay. One that is not known is refused rather than ignored: its sender expects something.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from relay.core.headers import Headers
from relay.core.reply import Reply, reply
from relay.inbound.sendat import NAME as SEND_AT
from relay.inbound.sendat import read_send_at

PREFIX = b"x-relay-"
KNOWN = ("X-Relay-Stream", "X-Relay-Tag", SEND_AT, "X-Relay-Idempotency-Key")
KEY = re.compile(r"[\x21-\x7e]{1,200}")
TAG = re.compile(r"\s*([A-Za-z0-9_.-]{1,64})\s*=\s*([^,\x00-\x1f\x7f]{1,200}?)\s*")
TAGS_MOST = 10


@dataclass(frozen=True, slots=True)
class Requests:
    """The stream a client chose ("" for none), the tags it gave, when it wants the message sent (Unix s; 0: at once),
    and its idempotency key ("" for none)."""

    stream: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    send_at: float = 0.0
    key: str = ""


NOTHING = Requests()


def read_requests(headers: Headers, *, choices: Collection[str], who: str) -> Requests | Reply:
    """The requests in a message, or the refusal of one that is unknown, malformed or not this client's
    right. `choices`: the streams `who` may choose."""
    asked = [field.name.decode() for field in headers.fields if field.name[:8] == PREFIX]
    if not asked:
        return NOTHING
    for name in asked:
        if name not in {known.lower() for known in KNOWN}:
            return reply(550, "5.6.0", f"header {name} is not known here; known are {', '.join(KNOWN)}")
    if headers.count("x-relay-stream") > 1:
        return reply(550, "5.6.0", "X-Relay-Stream is given twice: a message belongs to one stream")
    stream = headers.first("x-relay-stream") or ""
    if stream and stream not in choices:
        allowed = ", ".join(sorted(choices)) or "none (set streams: in the relay's configuration)"
        return reply(550, "5.7.1", f"{who} may not choose stream {stream[:60]!r}; allowed: {allowed}")
    tags, keys = _tags(headers.all("x-relay-tag")), headers.all("x-relay-idempotency-key")
    send_at = read_send_at(headers)
    if isinstance(tags, Reply):
        return tags
    if isinstance(send_at, Reply):
        return send_at
    if len(keys) > 1 or not all(KEY.fullmatch(key.strip()) for key in keys):
        return reply(550, "5.6.0", "X-Relay-Idempotency-Key must be one word of 1 to 200 printable ASCII characters")
    return Requests(stream, tags, send_at, "".join(keys).strip())


def _tags(values: list[str]) -> dict[str, str] | Reply:
    parts = [part for value in values for part in value.split(",") if part.strip()]
    matches = [TAG.fullmatch(part) for part in parts]
    if None in matches or len(parts) > TAGS_MOST:
        return reply(550, "5.6.0", f"X-Relay-Tag must be name=value, name=value (at most {TAGS_MOST})")
    return {match[1]: match[2] for match in matches if match}
