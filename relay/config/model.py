"""What config/relay.yaml may say. Durations are seconds, sizes bytes, paths absolute or from the working
directory; names of attributes that differ from their keys end in the unit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, WithJsonSchema, model_validator

from relay.config.paths import FilePath, Secret
from relay.policy.quantities import (
    Bind,
    Duration,
    Endpoint,
    Flag,
    HostName,
    Network,
    Size,
    Text,
    Whole,
    parse_endpoint,
    shown,
)
from relay.policy.quota import PaceOf, Reserve
from relay.policy.strict import Node
from relay.policy.validate import Entry
from relay.smtp.timeouts import Timeouts as OutboundTimeouts

Defaults = OutboundTimeouts()

Count = Annotated[Whole, Field(ge=1)]
Wait = Annotated[Duration, Field(gt=0)]
Tls = Literal["opportunistic", "required", "never"]
Server = Annotated[
    Endpoint,
    BeforeValidator(lambda value: parse_endpoint(value, port=53)),
    WithJsonSchema({"type": "string", "description": "an address, with port where it is not 53"}),
]
Host = Annotated[
    Endpoint,
    BeforeValidator(lambda value: parse_endpoint(value, port=25)),
    WithJsonSchema({"type": "string", "description": "host and port: mail.example.com:587"}),
]


MOST_FRONTS = 64


def parse_workers(value: Any) -> int:
    """How many fronts: 0, one process for everything; `auto`: by the processors there are."""
    if value == "auto":
        return usual_fronts(len(os.sched_getaffinity(0)))
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_FRONTS:
        return value
    raise ValueError(f"{shown(value)} is no number of fronts; allowed: auto, 0 (one process) to {MOST_FRONTS}")


def usual_fronts(processors: int) -> int:
    """What `auto` means (docs/decisions/0012-fronts-and-engine.md): one process on up to two processors, else a
    front for each, at most 8; the engine, which is one, is busy by then."""
    return 0 if processors < 3 else min(processors, 8)


Workers = Annotated[
    int, BeforeValidator(parse_workers), WithJsonSchema({
        "anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 0, "maximum": MOST_FRONTS}],
        "description": "fronts beside the engine; 0: one process; auto: by the number of processors",
    })
]  # fmt: skip


class Listener(Entry):
    """One address on which clients submit mail, and who they may be."""

    bind: Bind
    accepts: Literal["mail", "bounces"] = "mail"
    feedback: list[Text] = Field(default_factory=list)
    networks: list[Network] = Field(default_factory=list)
    tls: Literal["none", "starttls", "implicit"] = "none"
    auth: Literal["none", "optional", "required"] = "none"
    stream: Text = ""
    streams: list[Text] = Field(default_factory=list)
    senders: list[Text] = Field(default_factory=list)
    profile: Literal["modern", "legacy"] = "modern"
    rate: PaceOf | None = None
    daily: Count | None = None
    send_ahead: Duration = 0.0  # how far ahead X-Relay-Send-At may be
    auth_clear: Flag | None = None  # whether passwords may come in clear text; none: only with profile legacy
    max_connections: Count = 1000
    max_connections_per_client: Count = 100
    max_recipients: Annotated[Whole, Field(ge=100)] = 1000  # RFC 5321 §4.5.3.1.8: at least 100
    max_errors: Count = 20
    max_message_bytes: Size = Field(
        default=50 << 20, alias="max_message_size", ge=65536
    )  # RFC 5321 §4.5.3.1.7: 64K
    idle_timeout_s: Wait = Field(
        default=300.0, alias="idle_timeout"
    )  # RFC 5321 §4.5.3.2.7: at least 5 minutes
    data_timeout_s: Wait = Field(default=180.0, alias="data_timeout")  # RFC 5321 §4.5.3.2.5: 3 minutes
    data_min_bytes_per_s: Size = Field(default=1000, alias="data_min_rate", ge=1)
    session_timeout_s: Wait = Field(default=3600.0, alias="session_timeout")

    @property
    def clear_auth(self) -> bool:
        """Whether AUTH is offered to clients without TLS."""
        clear = self.profile == "legacy" if self.auth_clear is None else self.auth_clear
        return clear and self.auth != "none" and self.tls != "implicit"


def _takes_mail(listener: dict[str, Any]) -> bool:
    return bool(listener.get("accepts", "mail") == "mail")


class Certificate(Entry):
    """The server certificate chain and its key, both PEM."""

    certificate: FilePath
    key: FilePath


class Queue(Entry):
    """Where accepted mail is kept; "" is queue.db in the data folder."""

    url: Text = ""
    reserve: Reserve | None = None


class Timeouts(Entry):
    """How long each phase of an outbound session may take (RFC 5321 §4.5.3.2); the defaults are those of
    relay.smtp.timeouts."""

    connect_s: Wait = Field(default=Defaults.connect_s, alias="connect")
    banner_s: Wait = Field(default=Defaults.banner_s, alias="banner")
    ehlo_s: Wait = Field(default=Defaults.ehlo_s, alias="ehlo")
    starttls_s: Wait = Field(default=Defaults.starttls_s, alias="starttls")
    tls_s: Wait = Field(default=Defaults.tls_s, alias="tls")
    mail_s: Wait = Field(default=Defaults.mail_s, alias="mail")
    rcpt_s: Wait = Field(default=Defaults.rcpt_s, alias="rcpt")
    data_s: Wait = Field(default=Defaults.data_s, alias="data")
    body_s: Wait = Field(default=Defaults.body_s, alias="body")
    dot_s: Wait = Field(default=Defaults.dot_s, alias="dot")
    idle_s: Wait = Field(default=Defaults.idle_s, alias="idle")
    quit_s: Wait = Field(default=Defaults.quit_s, alias="quit")


class Delivery(Entry):
    """How mail leaves: to the recipients' MX, through one host, or not at all (sandbox)."""

    mode: Literal["mx", "smarthost", "sandbox"] = "mx"
    host: Host | None = None
    tls: Tls = "opportunistic"
    credential: Secret | None = None
    ca: FilePath | None = None
    connections: Count = 200
    host_connections: Count = 20
    timeouts: Timeouts = Timeouts()
    allow_targets: list[Network] = Field(default_factory=list)
    port: Annotated[Whole, Field(ge=1, le=65535)] = 25


class Dns(Entry):
    """Which resolvers to ask; none: the system's."""

    servers: list[Server] = Field(default_factory=list)


class Metrics(Entry):
    """Where /metrics, /healthz and /readyz are served."""

    bind: Bind = Endpoint("127.0.0.1", 9125)


class Control(Entry):
    """The Unix socket the command line talks to; empty: control.sock in the data folder."""

    socket: FilePath | None = None


class Events(Entry):
    """The event log; empty: events/ in the data folder."""

    dir: FilePath | None = None
    keep_days: Count = 30
    facts: Flag = True


class Config(Entry):
    """All settings of the process."""

    hostname: HostName
    data: FilePath
    policies: FilePath
    listeners: Annotated[dict[Text, Listener], Field(min_length=1)]
    postmaster: Text = ""
    tls: Certificate | None = None
    credentials: FilePath | None = None
    queue: Queue = Queue()
    delivery: Delivery = Delivery()
    dns: Dns = Dns()
    metrics: Metrics = Metrics()
    control: Control = Control()
    events: Events = Events()
    workers: Workers = Field(default_factory=lambda: parse_workers("auto"))
    drain_s: Wait = Field(default=30.0, alias="drain")
    idempotency_window_s: Wait = Field(default=86400.0, alias="idempotency_window")
    memory_budget_bytes: Size = Field(default=64 << 20, alias="memory_budget", ge=1 << 20)

    _file: str = PrivateAttr("")
    _node: Node | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Defaults that depend on other settings."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        if isinstance(hostname := values.get("hostname"), str) and "postmaster" not in values:
            hostname = hostname.lower()
            parent = hostname.partition(".")[2]
            values["postmaster"] = f"postmaster@{parent if '.' in parent else hostname}"
        if values.get("credentials") and isinstance(listeners := values.get("listeners"), dict):
            values["listeners"] = {
                name: {"auth": "optional", **one} if isinstance(one, dict) and _takes_mail(one) else one
                for name, one in listeners.items()
            }
        return values

    @property
    def file(self) -> str:
        """The path of the file it was read from."""
        return self._file

    def place(self, *path: str | int) -> tuple[str, int, int]:
        """File, line and column of a setting."""
        return (self._file, *(self._node.place(*path) if self._node else (0, 0)))

    @property
    def queue_file(self) -> Path:
        """The SQLite file; a relative one is taken from the config file's folder."""
        if not self.queue.url:
            return self.data / "queue.db"
        return Path(self._file).parent / self.queue.url.removeprefix("sqlite:///")

    @property
    def control_socket(self) -> Path:
        """The Unix socket of the control interface."""
        return self.control.socket or self.data / "control.sock"

    @property
    def handoff_socket(self) -> Path:
        """The Unix socket on which fronts reach the engine."""
        return self.data / "handoff.sock"

    @property
    def events_dir(self) -> Path:
        """The folder of the event log."""
        return self.events.dir or self.data / "events"

    def dkim_key(self, domain: str, selector: str) -> Path:
        """Where the DKIM key of a domain lies unless the policy names a file."""
        return self.data / "dkim" / domain / f"{selector}.pem"
