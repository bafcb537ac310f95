"""What a reload replaces."""

from __future__ import annotations

from dataclasses import dataclass

from relay.inbound.credentials import Credential
from relay.policy.model import Policy


@dataclass(slots=True)
class Rules:
    """What a reload replaces, all at once. `files` are those it was read from, `mark` their digest."""

    policy: Policy
    credentials: dict[str, Credential]
    loaded_at: float
    mark: str = ""
    files: bytes = b""
