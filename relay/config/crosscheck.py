"""Settings that are each well-formed and do not fit together."""

from __future__ import annotations

from collections.abc import Iterator

from relay.config.model import Config, Listener
from relay.core.address import AddressError, parse_path
from relay.core.pattern import compile_pattern
from relay.policy.model import Policy
from relay.policy.quantities import Endpoint
from relay.policy.strict import Problem

# A network wider than these makes an open relay: 10.0.0.0/8 and fc00::/7 are the widest private ones.
WIDEST = {4: 8, 6: 7}

OF_CLIENTS = ("networks", "auth", "stream", "streams", "senders", "rate", "daily", "send_ahead")

Complaint = tuple[tuple[str | int, ...], str, str]  # path of the setting, message, hint


def check_config(config: Config) -> list[Problem]:
    """Every contradiction in the config, at its line."""
    complaints = [*_listeners(config), *_binds(config), *_delivery(config), *_names(config)]
    return [Problem(*config.place(*path), message, hint) for path, message, hint in complaints]


def _listeners(config: Config) -> Iterator[Complaint]:
    for name, listener in config.listeners.items():
        path = ("listeners", name)
        yield from _reports(path, listener)
        if listener.tls != "none" and config.tls is None:
            yield (
                (*path, "tls"),
                f"`tls: {listener.tls}` needs a certificate",
                "add `tls: {certificate: PATH, key: PATH}` at the top level",
            )
        if listener.auth != "none" and config.credentials is None:
            yield (
                (*path, "auth"),
                f"`auth: {listener.auth}` needs credentials",
                "add `credentials: PATH` at the top level and `relay credential add`",
            )
        if not listener.networks and listener.auth == "none" and listener.accepts == "mail":
            yield (
                path,
                f"nobody may send through `{name}`",
                "list its clients in `networks:`, or set `auth: required`",
            )
        if listener.auth == "required" and listener.tls == "none" and not listener.clear_auth:
            yield (
                (*path, "auth"),
                "nobody can log in here: passwords are taken only over TLS",
                "set `tls: starttls`, or `auth_clear: true` where nobody listens on the line",
            )
        yield from _too_wide(path, listener)
        for number, sender in enumerate(listener.senders):
            if reason := _pattern_fault(sender):
                yield (*path, "senders", number), reason, ""


def _reports(path: tuple[str, str], listener: Listener) -> Iterator[Complaint]:
    """A listener for bounces takes reports from anyone and mail from nobody."""
    if listener.accepts == "mail":
        if listener.feedback:
            hint = "write `accepts: bounces`, on a port of its own"
            yield (*path, "feedback"), "`feedback:` is only for a listener with `accepts: bounces`", hint
        return
    for key in OF_CLIENTS:
        if getattr(listener, key) != Listener.model_fields[key].get_default(call_default_factory=True):
            yield (
                (*path, key),
                f"`{key}:` is for listeners that take mail, and this one takes reports alone, from anyone",
                "remove it, or take mail on a listener of its own",
            )
    for number, address in enumerate(listener.feedback):
        if not _is_address(address):
            hint = "write the addresses that feedback loops report to: fbl@example.com"
            yield (*path, "feedback", number), f"`{address}` is no address", hint


def _is_address(text: str) -> bool:
    try:
        return "@" in parse_path(f"<{text}>", null=False, utf8=True)[0]
    except AddressError:
        return False


def config_notes(config: Config) -> list[Problem]:
    """What is allowed and worth a second look."""
    return [
        Problem(
            *config.place("listeners", name),
            f"listener `{name}` takes passwords in clear text",
            "whoever sees the line can read them: keep it inside, or set `auth_clear: false`",
        )
        for name, listener in config.listeners.items()
        if listener.clear_auth
    ]


def unheard(config: Config, policy: Policy) -> list[Problem]:
    """Brakes on complaints where no listener takes any."""
    if any(one.accepts == "bounces" for one in config.listeners.values()):
        return []
    rules = [rule for stream in policy.streams.values() for rule in stream.brakes if rule.rate == "complaint_rate"]
    places = [rule.where.rpartition(":") for rule in rules]
    return [
        Problem(
            file, int(line), 1, "this brake counts nothing: no listener takes complaints",
            "add `bounces: {bind: \"0.0.0.0:25\", accepts: bounces}` to `listeners:` when providers report to you",
        )
        for file, _, line in places
    ]  # fmt: skip


def _too_wide(path: tuple[str, str], listener: Listener) -> Iterator[Complaint]:
    for number, network in enumerate(listener.networks):
        if network.prefixlen < WIDEST[network.version] and listener.auth != "required":
            yield (
                (*path, "networks", number),
                f"{network} would make this an open relay",
                "list the networks of your own clients, or set `auth: required`",
            )


def _pattern_fault(text: str) -> str:
    try:
        compile_pattern(text)
    except ValueError as error:
        return str(error)
    return ""


def _binds(config: Config) -> Iterator[Complaint]:
    """Two servers cannot have one address and port."""
    seen: dict[Endpoint, str] = {}
    binds: list[tuple[str, Endpoint, tuple[str, ...]]] = [
        (f"listener `{name}`", one.bind, ("listeners", name, "bind"))
        for name, one in config.listeners.items()
    ]
    binds.append(("metrics", config.metrics.bind, ("metrics", "bind")))
    for what, bind, path in binds:
        if bind in seen:
            yield path, f"{bind} is taken by {seen[bind]}", "give each its own address or port"
        seen.setdefault(bind, what)


def _delivery(config: Config) -> Iterator[Complaint]:
    delivery = config.delivery
    if delivery.mode == "smarthost" and delivery.host is None:
        yield (
            ("delivery", "mode"),
            "`mode: smarthost` needs its `host:`",
            'add `host: "mail.example.com:587"`',
        )
    if delivery.mode != "smarthost":
        for key in ("host", "credential"):
            if getattr(delivery, key) is not None:
                yield (
                    ("delivery", key),
                    f"`{key}:` is only for `mode: smarthost`",
                    "remove it or change `mode:`",
                )
    if delivery.credential is not None:
        if delivery.tls != "required":
            yield (
                ("delivery", "credential"),
                "a password must not be sent in clear text",
                "set `tls: required`",
            )
        if ":" not in delivery.credential.get_secret_value():
            yield (
                ("delivery", "credential"),
                "the credential is not of the form USER:PASSWORD",
                "write both in one line",
            )


def _names(config: Config) -> Iterator[Complaint]:
    if "." not in config.hostname:
        yield (
            ("hostname",),
            f"`{config.hostname}` is not fully qualified",
            "RFC 5321 §4.1.1.1 wants the name that DNS knows, like relay.example.com",
        )
    if "@" not in config.postmaster:
        yield ("postmaster",), f"`{config.postmaster}` is no address", "write it like postmaster@example.com"
    url = config.queue.url
    if url and (not url.startswith("sqlite:///") or url == "sqlite:///"):
        yield (
            ("queue", "url"),
            f"`{url}` is no queue this release has",
            "write sqlite:////absolute/path/queue.db, or sqlite:///path from the config file's folder",
        )
