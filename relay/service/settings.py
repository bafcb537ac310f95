"""From the configuration to what each part wants to know of it."""

from __future__ import annotations

import ssl
from dataclasses import fields

from relay.config.model import Config, Listener
from relay.core.limits import Rates
from relay.core.quota import Allowance
from relay.deliver.outlets import STARTTLS, Terms
from relay.deliver.resolve import ResolverSettings
from relay.deliver.settings import DeliverySettings, opportunistic_context, verified_context
from relay.inbound.credentials import Credential
from relay.inbound.settings import ListenerSettings
from relay.inbound.standing import Standing
from relay.inbound.tls import server_context
from relay.smtp.client import StartTls
from relay.smtp.login import Login
from relay.smtp.timeouts import Timeouts

SANDBOX = "sandbox"


def listener_settings(config: Config, name: str, listener: Listener) -> ListenerSettings:
    """One listener's settings; keys of the same name mean the same."""
    same = {field.name for field in fields(ListenerSettings)} & set(type(listener).model_fields)
    taken = {key: getattr(listener, key) for key in same - {"networks", "senders", "tls"}}
    return ListenerSettings(
        name=name, hostname=config.hostname, networks=tuple(listener.networks), tls=listener.tls,
        senders=tuple(listener.senders), postmaster=config.postmaster, **taken,
    )  # fmt: skip


def listener_context(config: Config, listener: Listener) -> ssl.SSLContext | None:
    """The listener's TLS context, read from the certificate files now; raises OSError, ssl.SSLError."""
    if listener.tls == "none" or config.tls is None:
        return None
    return server_context(str(config.tls.certificate), str(config.tls.key), profile=listener.profile)


def listener_standings(config: Config) -> dict[str, Standing]:
    """What each listener settles about streams."""
    return {name: Standing(one.stream, tuple(one.streams), one.send_ahead) for name, one in config.listeners.items()}


def credential_standings(credentials: dict[str, Credential]) -> dict[str, Standing]:
    """What each credential settles about streams."""
    return {name: Standing(one.stream, one.streams, one.ahead_s) for name, one in credentials.items()}


def allowances(config: Config, credentials: dict[str, Credential]) -> dict[str, Allowance]:
    """What each credential, and each listener's clients without one, may send; who has no limit is not there."""
    found = {f"listener {name}": Allowance(one.rate, one.daily or 0) for name, one in config.listeners.items()}
    found |= {f"credential {name}": Allowance(one.rate, one.daily) for name, one in credentials.items()}
    return {who: one for who, one in found.items() if one != Allowance()}


def ways(config: Config) -> dict[str, str]:
    """How to reach a stream: the port of the listener whose mail all belongs to it."""
    return {one.stream: f"port {one.bind.port}" for one in config.listeners.values() if one.stream}


def delivery_settings(config: Config, sandbox_port: int) -> DeliverySettings:
    """How mail leaves. `sandbox_port` counts only in sandbox mode."""
    delivery = config.delivery
    fixed = None
    if delivery.mode == SANDBOX:
        fixed = ("127.0.0.1", sandbox_port)
    elif delivery.mode == "smarthost" and delivery.host is not None:
        fixed = (delivery.host.host, delivery.host.port)
    login = None
    if delivery.credential is not None:
        user, _, password = delivery.credential.get_secret_value().partition(":")
        login = Login(user, password)
    return DeliverySettings(
        hostname=config.hostname, fixed=fixed, login=login, connections=delivery.connections,
        timeouts=Timeouts(**delivery.timeouts.model_dump()),
    )  # fmt: skip


def fixed_terms(config: Config, settings: DeliverySettings) -> Terms | None:
    """How the one fixed host is dealt with; None for MX delivery, where the policy's providers say."""
    if settings.fixed is None:
        return None
    starttls = StartTls.NEVER if config.delivery.mode == SANDBOX else STARTTLS[config.delivery.tls]
    name = SANDBOX if config.delivery.mode == SANDBOX else "smarthost"
    rates = Rates(connections=config.delivery.host_connections, messages_per_connection=0)
    file, line, _ = config.place("delivery")
    return Terms(name, name, rates, starttls, f"{file}:{line}")


def tls_context(config: Config) -> ssl.SSLContext:
    """Outbound TLS: a smarthost that must use TLS must also prove its name; an MX cannot."""
    if config.delivery.mode == "smarthost" and config.delivery.tls == "required":
        return verified_context(str(config.delivery.ca or ""))
    return opportunistic_context()


def resolver_settings(config: Config, own_addresses: frozenset[str]) -> ResolverSettings:
    """Who we are and whom we ask."""
    return ResolverSettings(
        hostname=config.hostname, addresses=own_addresses,
        servers=tuple(str(server) for server in config.dns.servers), port=config.delivery.port,
        allow_targets=tuple(str(network) for network in config.delivery.allow_targets),
    )  # fmt: skip


def own_addresses(config: Config) -> frozenset[str]:
    """Addresses on which this relay itself answers at the delivery port: MX there is a loop."""
    port = config.delivery.port
    binds = [one.bind for one in config.listeners.values() if one.bind.port == port]
    return frozenset(one.host for one in binds if one.host not in {"", "0.0.0.0", "::"})  # noqa: S104
