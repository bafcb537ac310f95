"""From the command to a running relay and back: checks, signals, side tasks, the drain, the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path

import uvloop

from relay.config.check import CheckReport, check_all
from relay.config.model import Config
from relay.core.events import Event
from relay.deliver.drain import SAID_MOST, under_way
from relay.deliver.sweeper import sweep_for_ever
from relay.deliver.tasks import Tasks
from relay.inbound.board import Board
from relay.queue.store import StoreBroken
from relay.service.backup import tell_restored
from relay.service.changes import in_force, restart_notes
from relay.service.clock import watch_for_ever
from relay.service.garbage import collect_for_ever, settle
from relay.service.gate import save_for_ever
from relay.service.gauges import bring_up_to_date
from relay.service.inlet import Sockets, open_sockets
from relay.service.lock import Busy, data_lock
from relay.service.objectives import keep_for_ever
from relay.service.operator import RelayOperator
from relay.service.proving import prove_quickly
from relay.service.relay import Relay
from relay.service.rules import Rules
from relay.service.settings import listener_context
from relay.service.systemd import RELOADED, Channel, Notifier, listen_descriptors
from relay.web.control import serve_control
from relay.web.health import serve_health
from relay.web.operator import Reloaded

log = logging.getLogger("relay")

LOCK_S = 1.0
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
STILL_S = 15.0  # how often a drain says what it waits for


def run(config_path: Path) -> int:
    """Runs until SIGTERM or SIGINT; 0 after a clean stop, 1 when it could not start or broke."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # until the loop hears it: it must not end a start
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    report = check_all(config_path)
    for problem in report.problems:
        sys.stderr.write(f"relay: {problem}\n")
    if report.problems or report.config is None:
        return 1
    try:
        with data_lock(report.config.data, LOCK_S) as lock:
            if report.config.workers:
                from relay.service.supervisor import Supervisor  # noqa: PLC0415 - it knows this module

                return Supervisor(config_path, report, lock).run()
            return uvloop.run(Process(config_path, report, Notifier()).run())
    except (OSError, StoreBroken, Busy) as error:
        log.critical("the relay cannot run: %s", error)
        return 1


def rules_of(report: CheckReport) -> Rules:
    """What a reload replaces, from a report without problems."""
    assert report.policy is not None
    return Rules(report.policy, report.credentials, time.time(), report.files.mark, report.files.packed())


class Process:
    """The relay as a process: signals in, exit code out."""

    def __init__(
        self, config_path: Path, report: CheckReport, notifier: Notifier | Channel,
        fronts: tuple[Board, Sockets] | None = None,
    ) -> None:  # fmt: skip
        assert report.config is not None
        self.config_path = config_path
        self.config: Config = report.config
        self.fronts = fronts
        self.relay = Relay(report.config, rules_of(report), fronts[0] if fronts else None)
        self.operator = RelayOperator(self.relay, reload_rules=self.reload, not_ready=self.not_ready)
        self.notifier = notifier
        self.listening = False
        self.hung_up = False
        self.ended = asyncio.Event()
        self.reloading = asyncio.Lock()
        self.failed = ""
        self.tasks: list[asyncio.Task[None]] = []
        self.reloads, self.checks = Tasks(), Tasks()

    def not_ready(self) -> str:
        """Why no mail is taken now, or ""."""
        if self.relay.stopping:
            return "stopping"
        if not self.listening:
            return "starting"
        assert self.relay.doors is not None
        return self.relay.store.unhealthy_reason() or self.relay.doors.closed_reason()

    async def run(self) -> int:
        """Starts, serves, stops."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ended.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        try:
            await self.relay.open()
            await self._serve()
        except BaseException:
            await self.relay.close()  # the queue's threads would keep the process from exiting
            raise
        return 1 if self.failed else 0

    async def _serve(self) -> None:
        removed, missing = self.relay.store.swept
        if removed or missing:
            log.warning("found %d unfinished bodies (removed) and %d bodies missing", removed, len(missing))
        await tell_restored(self.relay.store, self.relay.bus.publish)
        config = self.config
        async with contextlib.AsyncExitStack() as opened:
            health = await serve_health(str(config.metrics.bind), self.not_ready, self._metrics)
            opened.push_async_callback(health.close)
            control = await serve_control(self.operator, config.control_socket)
            opened.push_async_callback(control.close)
            sockets = self.fronts[1] if self.fronts else open_sockets(config, listen_descriptors())
            await self.relay.listen(sockets, self.ended)
            if not self.ended.is_set():
                self._ready()
            await self.ended.wait()
            await self._stop()

    def _ready(self) -> None:
        relay = self.relay
        self._side(relay.pager.run(), "pager")
        self._side(sweep_for_ever(relay.dispatcher, doubtful=relay.taken.doubtful), "sweeper")
        self._side(watch_for_ever(relay.clock, relay.store), "clock")
        self._side(save_for_ever(relay.gate, relay.store), "counts of clients")
        self._side(keep_for_ever(relay.objectives, relay.store), "objectives")
        self._side(relay.shaping.run(), "shaping")
        if relay.store.unclean:
            self.checks.spawn(prove_quickly(relay.store), "check of the queue after an unclean stop")
        relay.store.committer.add_done_callback(self._side_ended)
        if (period_s := self.notifier.watchdog_s()) > 0:
            self._side(self._watchdog(period_s), "watchdog")
        self._side(collect_for_ever(), "garbage")
        settle()
        self.listening = True
        assert relay.doors is not None
        for listener in (listeners := relay.doors.listeners()):
            log.info("listener %s takes mail on %s", listener["name"], listener["bind"])
        log.info("relay %s is ready; delivery: %s", self.config.hostname, self.config.delivery.mode)
        self.notifier.tell("READY=1", f"STATUS=taking mail on {len(listeners)} listeners")
        if self.hung_up:
            self._hang_up()

    def _side(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._side_ended)
        self.tasks.append(task)

    def _side_ended(self, task: asyncio.Task[None]) -> None:
        """A side task that ends while the relay runs is a fault: half a relay is worse than none."""
        if self.relay.stopping or task.cancelled():
            return
        self.failed = f"{task.get_name()} ended: {task.exception()!r}"
        log.critical("stopping, as %s", self.failed, exc_info=task.exception())
        self.ended.set()

    async def _watchdog(self, period_s: float) -> None:
        while True:
            if not self.relay.store.unhealthy_reason():
                self.notifier.tell("WATCHDOG=1")
            await asyncio.sleep(period_s)

    async def _stop(self) -> None:
        self.notifier.tell("STOPPING=1")
        log.info("stopping: no new mail; waiting up to %g s for what is under way", self.config.drain_s)
        saying = asyncio.get_running_loop().create_task(self._say_what_is_left(), name="drain report")
        await self.relay.stop(0.0 if self.relay.store.unhealthy_reason() else self.config.drain_s)
        for task in (saying, *self.tasks):
            task.cancel()
        await self.checks.finish()  # its thread reads the queue file: seconds at most
        await asyncio.gather(saying, *self.tasks, return_exceptions=True)
        log.info("stopped; everything accepted and not delivered is in the queue")

    async def _say_what_is_left(self) -> None:
        while True:
            await asyncio.sleep(STILL_S)
            sessions = self.relay.doors.sessions if self.relay.doors else 0
            left = ", ".join(under_way(self.relay.dispatcher)[:SAID_MOST]) or "no delivery"
            log.info("still under way: %d sessions of clients; %s", sessions, left)

    def _hang_up(self) -> None:
        """SIGHUP. One that comes while the relay starts is worked off when it is ready: files may have changed
        since they were read. One that comes while it stops changes nothing any more."""
        self.hung_up = not self.listening
        if self.listening and not self.relay.stopping:
            self.reloads.spawn(self._reload_by_signal(), "reload by SIGHUP")

    async def _reload_by_signal(self) -> None:
        self.notifier.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            await self.operator.reload()
        finally:
            self.notifier.tell("READY=1")  # systemd waits for it; the old rules are in force if all else fails

    async def reload(self) -> Reloaded:
        """Reads configuration, policies, credentials and certificates; all of it is taken but what needs a
        restart (the notes say what), or nothing and the problems."""
        async with self.reloading:  # a signal and a command at once: the later one reads the later files
            return await self._reload()

    async def _reload(self) -> Reloaded:
        report = await asyncio.get_running_loop().run_in_executor(None, check_all, self.config_path)
        problems = [str(problem) for problem in report.problems]
        notes: list[str] = []
        if not problems and report.config is not None:
            config, waiting = in_force(self.config, report.config)
            try:
                contexts = {name: listener_context(config, one) for name, one in config.listeners.items()}
                self.relay.take(config, rules_of(report), contexts)
            except (OSError, ValueError) as error:
                problems = [f"certificates: {error}"]
            else:
                self.config, notes = config, restart_notes(waiting)
                notes += await self._spread()
        self._say_reloaded(problems, notes)
        return Reloaded(problems=problems, notes=notes)

    async def _spread(self) -> list[str]:
        """The rules are in force everywhere when this returns."""
        if self.fronts is None or self.relay.doors is None:
            return []
        self.notifier.tell(f"{RELOADED}{self.relay.rules.mark}")
        return await self.relay.doors.spread(self.relay.rules)

    def _say_reloaded(self, problems: list[str], notes: list[str]) -> None:
        for problem in problems:
            log.error("not reloaded: %s", problem)
        for note in notes:
            log.warning("reload: %s", note)
        log.info("reload: %s", "refused, the old rules stay in force" if problems else "done")
        told = {"problems": problems, "notes": notes}
        detail: dict[str, object] = {name: lines for name, lines in told.items() if lines}
        self.relay.bus.publish(Event("reloaded", time.time(), detail=detail))

    async def _metrics(self) -> bytes:
        await bring_up_to_date(self.relay)
        return self.relay.metrics.render()


