"""The compiled policy: immutable values that the running relay asks, each knowing where it was written.

`where` is always "file:line" with the base name of the policy file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from relay.core.brakes import BrakeRule
from relay.core.pattern import Pattern
from relay.core.quota import Quota
from relay.core.replies import ReplyRule
from relay.core.reply import Reply
from relay.core.retry import Retry
from relay.core.warmup import Warmup
from relay.policy.facts import Facts
from relay.policy.guard import Guard
from relay.policy.limits import NamedLimit
from relay.policy.requirements import Requirement
from relay.policy.rules import Condition
from relay.policy.templates import Template

Algorithm = Literal["rsa", "ed25519"]
Tls = Literal["opportunistic", "required", "never"]
LostAfterDot = Literal["resend", "hold"]  # RFC 1047: it may have been delivered, it may not


@dataclass(frozen=True, slots=True)
class Signing:
    """One DKIM identity. `domain` is a name or "from" for the From header's domain; `key` is the path of a
    PEM file, or "" for data/dkim/DOMAIN/SELECTOR.pem. Unless `required`, mail goes unsigned by this identity
    where there is no such key."""

    domain: str
    selector: str
    algorithm: Algorithm = "rsa"
    key: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Objective:
    """The share `target` (0 to 1) of recipients is to be delivered within `within_s` seconds."""

    within_s: float
    target: float


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of mail with its own pool, identities, priority and retry schedule. `return_path` is "" to keep
    the sender, a domain for VERP there, or an address to be used as it is. `reserve` (0 to 1) is the share of
    each destination's connections never lent to lower streams. `delay_notice_s` 0 means none is sent."""

    name: str
    pool: str
    retry: Retry
    signings: tuple[Signing, ...] = ()
    return_path: str = ""
    priority: int = 0
    weight: int = 1
    reserve: float = 0.0
    delay_notice_s: float = 0.0
    objective: Objective | None = None
    eight_bit: Literal["keep", "encode"] = "keep"
    brakes: tuple[BrakeRule, ...] = ()
    guard: Guard | None = None
    require: tuple[Requirement, ...] = ()
    quota: Quota | None = None
    lost_after_dot: LostAfterDot = "resend"
    where: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where mail leaves from. Empty addresses leave the choice to the kernel; `helo` "" is the relay's own
    host name."""

    name: str
    address: str = ""
    address6: str = ""
    helo: str = ""
    weight: int = 1
    warmup: Warmup | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """Sources that share the mail of a stream by weight; never empty. `shared` are the names of limits."""

    name: str
    sources: tuple[Source, ...]
    where: str = ""
    shared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one source may do to one destination. A rate of 0 is no limit."""

    connections: int = 5
    messages_per_connection: int = 50
    connections_per_minute: int = 0
    messages_per_second: float = 0.0
    tls: Tls = "opportunistic"


@dataclass(frozen=True, slots=True)
class Provider:
    """Limits for every destination one of whose MX names matches `mx`, and what its replies lead to. The reply
    rules of the last provider are asked after everyone's own. `shared` are the names of limits it has together
    with others."""

    name: str
    mx: tuple[Pattern, ...]
    limits: Limits
    where: str = ""
    replies: tuple[ReplyRule, ...] = ()
    shared: tuple[str, ...] = ()

    def takes(self, host: str) -> bool:
        """Whether the MX name (without final dot) is this provider's."""
        return any(pattern.matches(host) for pattern in self.mx)


@dataclass(frozen=True, slots=True)
class Route:
    """A rule. Exactly one of `stream` and `refusal` is set; `condition` None matches everything."""

    name: str
    condition: Condition | None
    stream: Stream | None = None
    refusal: Reply | None = None
    hold: bool = False
    tags: tuple[tuple[str, Template], ...] = ()
    headers_remove: tuple[str, ...] = ()
    headers_add: tuple[tuple[str, Template], ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One of the policy's own `tests:`: the facts `given` and what must come of them, by name."""

    name: str
    given: Facts
    expect: Mapping[str, object]
    where: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules, checked: every stream named exists, the last route and the last provider take everything.
    `asked` are the header fields that rules look at (`policy.recorded`)."""

    streams: Mapping[str, Stream]
    pools: Mapping[str, Pool]
    routes: tuple[Route, ...]
    providers: tuple[Provider, ...]
    examples: tuple[Example, ...] = field(default=(), repr=False)
    limits: Mapping[str, NamedLimit] = field(default_factory=dict)
    asked: Mapping[str, bool] = field(default_factory=dict, repr=False)

    def provider(self, host: str) -> Provider:
        """The first provider whose patterns take the MX name; the last one takes all."""
        name = host.rstrip(".")
        return next((one for one in self.providers if one.takes(name)), self.providers[-1])

    def where(self, kind: Literal["stream", "pool", "route", "provider"], name: str) -> str:
        """The "file:line" at which the named thing is written; "" when there is none."""
        things: dict[str, tuple[Stream | Pool | Route | Provider, ...]] = {
            "stream": tuple(self.streams.values()),
            "pool": tuple(self.pools.values()),
            "route": self.routes,
            "provider": self.providers,
        }
        return next((thing.where for thing in things[kind] if thing.name == name), "")
