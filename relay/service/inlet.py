"""What takes mail in one process: access, intake, listeners. The relay has one, or each of its fronts."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from relay.config.model import Config
from relay.core.events import Event
from relay.core.message import Prepared
from relay.inbound.access import Access, Guessing
from relay.inbound.board import Board, SharedBudget, SharedChecks, SharedSeats
from relay.inbound.gate import Gate
from relay.inbound.intake import Intake
from relay.inbound.listener import Listener, bind, inherited
from relay.inbound.reception import Budget, MemoryBudget, Seating, Seats
from relay.policy.model import Policy
from relay.prepare.keys import KeyRing
from relay.prepare.message import Preparer
from relay.prepare.signing import SigningDesk
from relay.queue.spool import Spool
from relay.queue.store import Receipt
from relay.service.keyfile import secret_file
from relay.service.reception import Reports, receptions
from relay.service.rules import Rules
from relay.service.settings import credential_standings, listener_settings, listener_standings

RETURN_PATH_KEY = "return-path.key"
Sockets = Mapping[str, Sequence[socket.socket]]
HeldBy = Callable[[str, str, Mapping[str, str]], str]


def open_sockets(config: Config, descriptors: Mapping[str, Sequence[int]]) -> dict[str, list[socket.socket]]:
    """A bound socket or more for each listener: those handed in under its name, or else its own. Raises OSError
    for a port that cannot be had."""
    found: dict[str, list[socket.socket]] = {}
    try:
        for name, listener in config.listeners.items():
            handed = [inherited(one) for one in descriptors.get(name, ())]
            found[name] = handed or bind([str(listener.bind)])
    except BaseException:
        for sockets in found.values():
            for one in sockets:
                one.close()
        raise
    return found


@dataclass(frozen=True, slots=True)
class Share:
    """One front among several: its number, what they count together, and who counts wrong passwords."""

    board: Board
    number: int
    guesses: Guessing


@dataclass(frozen=True, slots=True)
class Ways:
    """Where mail and news go from here."""

    gate: Gate
    put: Callable[[Prepared], Awaitable[Receipt]]
    publish: Callable[[Event], None]
    spool: Spool
    feedback: Reports
    held_by: HeldBy = lambda *_: ""


class Inlet:
    """Made before the first client; `listen` lets clients in."""

    def __init__(
        self, config: Config, rules: Rules, ways: Ways, *, policy: Callable[[], Policy], keys: KeyRing,
        desk: SigningDesk, share: Share | None = None,
    ) -> None:  # fmt: skip
        self.config, self.ways, self.share = config, ways, share
        self.access = Access(
            rules.credentials, senders=_senders(config), guesses=share.guesses if share else None,
            checks=SharedChecks(share.board, share.number) if share else None, threads=1 if share else 2,
        )  # fmt: skip
        self.listeners: list[Listener] = []
        self.intake = Intake(
            policy=policy, access=self.access, gate=ways.gate,
            preparer=Preparer(config.hostname, postmaster=config.postmaster),
            keys=keys, desk=desk, put=ways.put, publish=ways.publish, clock=time.time,
            verp_key=secret_file(config.data / RETURN_PATH_KEY),
            listeners=listener_standings(config), credentials=credential_standings(rules.credentials),
            record_facts=config.events.facts, held_by=ways.held_by, key_window_s=config.idempotency_window_s,
        )  # fmt: skip

    async def listen(self, sockets: Sockets) -> None:
        """Lets mail in through bound sockets, which it owns from now on."""
        config, share = self.config, self.share
        budget: Budget = MemoryBudget(config.memory_budget_bytes)
        if share is not None:
            budget = SharedBudget(config.memory_budget_bytes, share.board, share.number)
        made = receptions(
            config, self.access, self.intake, self.ways.feedback, budget=budget, seats=self._seats,
            notify=self.ways.publish, spool=self.ways.spool,
        )  # fmt: skip
        for reception in made:
            name = reception.settings.name
            ahead = partial(share.board.is_ahead, share.number, name) if share else None
            self.listeners.append(Listener(reception, sockets[name], ahead))
        for listener in self.listeners:
            await listener.start()

    def _seats(self, listener: str) -> Seating:
        return SharedSeats(self.share.board, self.share.number, listener) if self.share else Seats()

    def take(self, config: Config, rules: Rules, contexts: Mapping[str, ssl.SSLContext | None]) -> None:
        """Replaces credentials, certificates and the listeners' settings; sessions that live keep theirs."""
        self.config = config
        self.access.replace(rules.credentials, _senders(config))
        self.intake.take(listener_standings(config), credential_standings(rules.credentials))
        self.intake.preparer.postmaster = config.postmaster
        self.intake.key_window_s = config.idempotency_window_s
        for listener in self.listeners:
            name = listener.name
            listener.reload(listener_settings(config, name, config.listeners[name]), contexts[name])

    @property
    def sessions(self) -> int:
        """Clients that are connected."""
        return sum(len(one.reception.sessions) for one in self.listeners)

    async def close(self) -> None:
        """Ends what is left of sessions and the password checks."""
        for listener in self.listeners:
            await listener.close()
        self.access.close()


def _senders(config: Config) -> dict[str, tuple[str, ...]]:
    return {name: tuple(one.senders) for name, one in config.listeners.items() if one.senders}
