"""Taking mail over from another server's queue, for the running relay: what the command sent, understood."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import TypeVar

from relay.core.address import AddressError, parse_path
from relay.core.envelope import Envelope, Recipient
from relay.inbound.importing import Given, Importer
from relay.inbound.refusals import Refused
from relay.inbound.standing import NO_STANDING, together
from relay.prepare.message import Preparer
from relay.queue.store import IMPORTED
from relay.service.keyfile import secret_file
from relay.service.relay import Relay
from relay.service.settings import credential_standings, listener_settings, listener_standings
from relay.web.filters import BadFilter

T = TypeVar("T")
BODIES, RETS = ("", "7BIT", "8BITMIME"), ("", "FULL", "HDRS")
PARAMETER = re.compile(r"[!-~]{0,1000}")
LATEST = 1e11  # Unix seconds: the year 5138
NOTIFY = frozenset({"NEVER", "SUCCESS", "FAILURE", "DELAY"})


class ImportAnswers:
    """The ImportOperator of one Relay."""

    relay: Relay
    importer: Importer | None = None

    async def import_mail(self, head: Mapping[str, object], content: AsyncIterator[bytes]) -> Mapping[str, object]:
        """What came of one message."""
        config, credentials = self.relay.config, self.relay.rules.credentials
        name = _listener(head, [name for name, one in config.listeners.items() if one.accepts == "mail"])
        given = _given(head, frozenset(credentials))
        standing = together(
            listener_standings(config)[name], credential_standings(credentials).get(given.credential, NO_STANDING)
        )
        settings = listener_settings(config, name, config.listeners[name])
        self.importer = self.importer or self._importer()
        try:
            return asdict(await self.importer.take(given, content, settings, standing))
        except Refused as refused:  # a fault of the head that only a session would find
            raise BadFilter(refused.reply.text) from None

    def _importer(self) -> Importer:
        relay = self.relay
        return Importer(
            policy=relay.policy, preparer=Preparer(relay.config.hostname, postmaster=relay.config.postmaster),
            keys=relay.keys, desk=relay.desk, put=relay.store.put,
            known=lambda origin: relay.store.recall_one(IMPORTED, origin), clock=time.time,
            verp_key=secret_file(relay.config.data / "return-path.key"), held_by=relay.shaping.held_by,
            spool=relay.store.spool, lock=asyncio.Lock(),
        )  # fmt: skip


def _listener(head: Mapping[str, object], names: list[str]) -> str:
    """The listener whose place the other server had."""
    name = head.get("listener") or (names[0] if len(names) == 1 else "")
    if name not in names:
        wanted = f"there is no listener {name}" if name else "say which listener's clients sent this mail"
        raise BadFilter(f"{wanted}: --listener {' or '.join(names)}")
    return str(name)


def _given(head: Mapping[str, object], credentials: frozenset[str]) -> Given:
    user = _field(head, "user", str)
    arrived_at = _field(head, "arrived_at", (int, float))
    if not 0 <= arrived_at < LATEST:
        raise BadFilter("arrived_at wants a Unix time in seconds")
    return Given(
        _field(head, "origin", str), float(arrived_at), _envelope(head),
        client=_field(head, "client", str), helo=_field(head, "helo", str),
        credential=user if user in credentials else "",
        held=_field(head, "held", bool), trial=_field(head, "trial", bool),
    )  # fmt: skip


def _envelope(head: Mapping[str, object]) -> Envelope:
    recipients = _field(head, "recipients", list)
    if not recipients:
        raise BadFilter("a message has a recipient")
    return Envelope(
        _address(_field(head, "sender", str)), tuple(_recipient(one) for one in recipients),
        _one_of(head, "body", BODIES), _field(head, "utf8", bool), _one_of(head, "ret", RETS),
        _parameter(_field(head, "envid", str)),
    )  # fmt: skip


def _recipient(row: object) -> Recipient:
    if not isinstance(row, list) or len(row) != 3 or not isinstance(row[1], list):
        raise BadFilter("a recipient is [address, [NOTIFY words], orcpt]")
    address, notify, orcpt = row
    if not isinstance(address, str) or not address or not isinstance(orcpt, str):
        raise BadFilter("a recipient is [address, [NOTIFY words], orcpt]")
    if not all(isinstance(word, str) and word in NOTIFY for word in notify):
        raise BadFilter(f"a recipient's NOTIFY words are {', '.join(sorted(NOTIFY))}")
    return Recipient(_address(address), frozenset(notify), _parameter(orcpt))


def _parameter(text: str) -> str:
    """What will be a parameter of MAIL or RCPT: nothing in it may end the command."""
    if not PARAMETER.fullmatch(text):
        raise BadFilter(f"{text[:60]!r} cannot be a parameter: printable ASCII without spaces")
    return text


def _one_of(head: Mapping[str, object], name: str, allowed: tuple[str, ...]) -> str:
    value = _field(head, name, str)
    if value not in allowed:
        raise BadFilter(f"{name} is one of {', '.join(filter(None, allowed))}, or empty")
    return value


def _address(text: str) -> str:
    """An address as SMTP has it, "" for the null one."""
    try:
        return parse_path(f"<{text}>", null=True, utf8=True)[0]
    except AddressError as error:
        raise BadFilter(f"{text[:100]!r} is no address: {error.reason}") from None


def _field(head: Mapping[str, object], name: str, kind: type[T] | tuple[type[T], ...]) -> T:
    value = head.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadFilter(f"{name} is missing or of another kind")
    return value
