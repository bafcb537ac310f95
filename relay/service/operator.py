"""What operators may ask of this relay: the answers the control API and the command line give."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace

from relay import __version__
from relay.core.events import Event
from relay.queue.store import Filter, Row
from relay.service.backup import BackupAnswers
from relay.service.explain import explain_domain, explain_message
from relay.service.importing import ImportAnswers
from relay.service.limits import cancel_limit, limits
from relay.service.relay import Relay
from relay.service.shaping import ShapingAnswers
from relay.web.operator import (
    Caught,
    CaughtMessage,
    Explanation,
    LimitState,
    ObjectiveState,
    Reloaded,
    Shown,
    Status,
    StreamState,
)


class RelayOperator(ShapingAnswers, BackupAnswers, ImportAnswers):
    """The Operator of one Relay. `reload_rules` reads everything anew and says what came of it;
    `not_ready` says why no mail is taken."""

    def __init__(
        self, relay: Relay, *, reload_rules: Callable[[], Awaitable[Reloaded]], not_ready: Callable[[], str]
    ) -> None:
        self.relay, self.reload_rules, self.not_ready = relay, reload_rules, not_ready
        self.reload_problems: list[str] = []

    async def find(self, which: Filter, limit: int) -> list[Row]:
        """Queued and held recipients that match, oldest first."""
        return self._rows(await self.relay.store.find(which, limit))

    def _rows(self, rows: list[Row]) -> list[Row]:
        """Rows of the queue in wall time."""
        wall = self.relay.clock.wall
        return [replace(row, received_at=wall(row.received_at), due_at=wall(row.due_at)) for row in rows]

    async def show(self, message: str) -> Shown | None:
        """One message that is still in the queue, or None."""
        stored = await self.relay.store.load(message)
        if stored is None:
            return None
        rows = self._rows(await self.relay.store.find(Filter(message=message), -1))
        whole = stored.message
        return Shown(
            message=message, stream=whole.stream, sender=whole.envelope.sender,
            received_at=self.relay.clock.wall(whole.received_at), size=whole.content.size,
            header=whole.content.header.decode("utf-8", "replace"),
            rows=[asdict(row) for row in rows], attempts=self.relay.attempts.of(message),
        )  # fmt: skip

    async def hold(self, which: Filter) -> int:
        """Stops delivery of what matches until it is released."""
        return await self._changed("held", which, await self.relay.store.hold(which))

    async def release(self, which: Filter) -> int:
        """Queues held recipients again, due now."""
        return await self._changed("released", which, await self.relay.store.release(which, self.relay.clock()))

    async def retry(self, which: Filter) -> int:
        """Makes queued recipients due now; destinations left alone after trouble are tried, too."""
        self.relay.dispatcher.connector.gates.breakers.clear()
        self.relay.resolver.forget()
        self.relay.routing.forget()
        return await self._changed("", which, await self.relay.store.retry(which, self.relay.clock()))

    async def cancel(self, which: Filter) -> int:
        """Ends recipients for good, without a report to the sender."""
        return await self._ended("cancelled", which, await self.relay.store.cancel(which), {})

    async def confirm(self, which: Filter) -> int:
        """Ends recipients that were lost after the dot as delivered: an operator knows that they arrived."""
        rows = await self.relay.store.confirm(which)
        return await self._ended("delivered", which, rows, {"by": "operator"})

    async def _ended(self, event: str, which: Filter, rows: list[Row], detail: dict[str, object]) -> int:
        now = time.time()
        for row in rows:
            self.relay.bus.publish(Event(
                event, now, message=row.message, recipient=row.recipient, stream=row.stream, route=row.route,
                sender=row.sender, tags=row.tags, detail=detail,
            ))  # fmt: skip
        return await self._changed("", which, len(rows))

    async def check(self, *, full: bool) -> dict[str, object]:
        """Proves the queue as it is now, from one snapshot."""
        return (await self.relay.store.check(full=full)).as_dict()

    async def _changed(self, event: str, which: Filter, count: int) -> int:
        """Tells what an operator did, and reads the queue anew."""
        if count and event:
            chosen = {name: value for name, value in asdict(which).items() if value is not None}
            self.relay.bus.publish(Event(
                event, time.time(), message=which.message or "", stream=which.stream or "",
                detail={"recipients": count, "filter": chosen},
            ))  # fmt: skip
        if count:
            self.relay.reread_queue()
        return count

    async def explain(self, what: str) -> Explanation | None:
        """Why a message id waits, or what limits a destination domain now."""
        found = await explain_message(self.relay, what) or await explain_domain(self.relay, what)
        if found is None or found.until is None:
            return found
        return replace(found, until=self.relay.clock.wall(found.until))

    async def streams(self) -> list[StreamState]:
        """Every stream of the policies and every stream that still has mail."""
        tally, oldest = await self.relay.store.tally(), await self.relay.store.oldest()
        known = self.relay.policy().streams
        now = self.relay.clock()
        return [
            self._stream(name, tally.queued.get(name, 0), tally.held.get(name, 0), now - oldest.get(name, now))
            for name in sorted({*known, *tally.queued, *tally.held})
        ]

    def _stream(self, name: str, queued: int, held: int, oldest_s: float) -> StreamState:
        stream = self.relay.policy().streams.get(name)
        return StreamState(
            name=name, queued=queued, held=held, oldest_s=max(0.0, oldest_s), **self._objective(name),
            pool=stream.pool if stream else "",
            where=stream.where if stream else "not in the policies any more",
        )  # fmt: skip

    async def limits(self) -> list[LimitState]:
        """Limits that replies of providers led to, in force now."""
        return limits(self.relay)

    async def cancel_limit(self, limit: str) -> str:
        """Ends one now; returns what it was, "" when there is none with that id."""
        return cancel_limit(self.relay, limit)

    def _objective(self, name: str) -> ObjectiveState:
        stream, objectives = self.relay.policy().streams.get(name), self.relay.objectives
        goal = stream.objective if stream else None
        text = f"{float(f'{goal.target * 100:.6f}'):g}% within {goal.within_s:g} s" if goal else ""
        return ObjectiveState(objective=text, met=objectives.met(name), burn=objectives.rates(name, time.time()))

    async def sandbox_list(self) -> list[Caught]:
        """What the sandbox keeps, newest first."""
        sandbox = self.relay.sandbox
        return [await self._caught(kept.id) for kept in sandbox.list()] if sandbox else []

    async def _caught(self, key: str) -> Caught:
        shown = await self.sandbox_show(key)
        assert shown is not None
        return Caught(**{key: value for key, value in shown.items() if key != "source"})  # type: ignore[typeddict-item, no-any-return]

    async def sandbox_show(self, caught: str) -> CaughtMessage | None:
        """One sandbox message by its sandbox id or the relay's message id, or None."""
        shown = await self.relay.sandbox.show(caught) if self.relay.sandbox else None
        if shown is None:
            return None
        kept = shown.message
        return CaughtMessage(
            id=kept.id, message=kept.message, received_at=kept.received_at, stream=kept.stream,
            sender=kept.sender, recipients=list(kept.recipients), subject=kept.subject,
            dkim="; ".join(str(verdict) for verdict in shown.dkim) or "none",
            delay_s=kept.delay_s, size=kept.size, source=shown.source.decode("utf-8", "replace"),
        )  # fmt: skip

    async def reload(self) -> Reloaded:
        """Reads everything again; all of it is taken but what needs a restart, or nothing."""
        reloaded = await self.reload_rules()
        self.reload_problems = reloaded["problems"]
        return reloaded

    async def status(self) -> Status:
        """The relay itself."""
        relay, tally = self.relay, await self.relay.store.tally()
        return Status(
            version=__version__, hostname=relay.config.hostname, pid=os.getpid(), started_at=relay.started_at,
            ready=self.not_ready(), delivery=relay.config.delivery.mode,
            listeners=relay.doors.listeners() if relay.doors else [],
            fronts=relay.doors.fronts() if relay.doors else [],
            accepted=tally.accepted, queued=sum(tally.queued.values()), held=sum(tally.held.values()),
            ends=dict(tally.ends), gap=tally.gap,
            objectives={name: self._objective(name) for name in relay.objectives.trackers},
            policies_loaded_at=relay.rules.loaded_at,
            reload_problems=self.reload_problems,
        )  # fmt: skip
