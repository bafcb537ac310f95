"""What a policy may know of a message when it decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from relay.core.headers import Headers

NO_TAGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Facts:
    """One message at the final dot. `client` is the peer's IP address in text, `sender` the reverse-path
    ("" for null), `size` bytes on the wire, `hour` the hour of day in UTC (0 to 23). `chosen_stream` is what
    X-Relay-Stream asked for, already checked as allowed, or ""; `forced_stream` is the `stream:` of the
    credential or listener, or ""; `chosen_tags` are those of X-Relay-Tag."""

    listener: str
    client: str
    credential: str
    sender: str
    recipients: tuple[str, ...]
    headers: Headers
    size: int
    hour: int
    chosen_stream: str = ""
    forced_stream: str = ""
    chosen_tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)
