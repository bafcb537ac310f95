"""The process that the user or systemd started when fronts take the mail: it binds, starts the engine and the
fronts, and starts again what dies.

    supervisor ─┬─ engine (queue, delivery, metrics, control)
                ├─ front 1 ┐
                └─ front 2 ┴─ the same listening sockets, inherited

It holds the listening sockets, the lock of the data folder and the word to systemd; it reads no mail, has no threads
and no event loop, and therefore may fork at any time. Children are forked from it as it stood after the start: a front
is back in milliseconds. They end when it does: each has a thread that waits for the end of a pipe.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import uvloop

from relay.config.check import CheckReport, check_all
from relay.inbound.board import Board
from relay.queue.spool import Spool
from relay.service.front import Front
from relay.service.inlet import open_sockets
from relay.service.run import LOG_FORMAT, Process
from relay.service.systemd import RELOADED, Channel, Notifier, listen_descriptors

log = logging.getLogger("relay")

ENGINE = 0
WELL_S = 10.0  # a process that lived so long is started again at once
PAUSES_S = (0.0, 0.2, 1.0, 2.0, 5.0)  # before a process that keeps dying is started again
TRIES = 10  # engines that never came up, one after the other: then the relay ends, and systemd is told
LATE_S = 20.0  # more than the drain: what then still runs is killed
PASSED_ON = (signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """Runs until SIGTERM or SIGINT."""

    def __init__(self, config_path: Path, report: CheckReport, lock: int) -> None:
        assert report.config is not None
        self.config_path, self.report, self.config, self.lock = config_path, report, report.config, lock
        self.notifier = Notifier()
        self.watchdog_s = self.notifier.watchdog_s()
        self.board = Board(self.config.workers, list(self.config.listeners))
        self.children: dict[int, int] = {}  # pid to number
        self.due: dict[int, float] = dict.fromkeys(range(self.config.workers + 1), 0.0)
        self.deaths: dict[int, int] = {}
        self.stopping_until = 0.0
        self.ready = False
        self.code = 1

    def run(self) -> int:
        """0 after a clean stop, 1 when the relay could not start or broke. Raises OSError."""
        removed = Spool(self.config.data / "spool").clear()
        if removed:
            log.warning("removed %d unfinished bodies", removed)
        self.sockets = open_sockets(self.config, listen_descriptors())
        self.lifeline = os.pipe()
        self.words, self.channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.wakeup = socket.socketpair()
        for one in (self.words, self.channel, *self.wakeup):
            one.setblocking(False)
        signal.set_wakeup_fd(self.wakeup[1].fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._noticed)
        gc.collect()
        gc.freeze()  # children share these pages for as long as nobody writes to them
        try:
            while self._round():
                pass
        finally:
            self._kill_all()
        return self.code

    def _round(self) -> bool:
        """Starts what is due, waits for something to happen; False at the end."""
        now = time.monotonic()
        if not self.stopping_until:
            for number in [one for one, at in self.due.items() if at <= now]:
                del self.due[number]
                self._start(number)
        elif not self.children or now > self.stopping_until:
            return False
        wake = [self.stopping_until] if self.stopping_until else list(self.due.values())
        wait_s = max(0.0, min(wake) - now) if wake else None
        select.select([self.words, self.wakeup[0]], [], [], wait_s)
        self._read_wakeup()
        self._pass_on()
        self._bury()
        return bool(self.children or self.due) or not self.stopping_until

    @staticmethod
    def _noticed(number: int, frame: FrameType | None) -> None:
        """The number is in the wakeup socket."""

    def _read_wakeup(self) -> None:
        try:
            numbers = set(self.wakeup[0].recv(1024))
        except BlockingIOError:
            return
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            self._stop()
        if signal.SIGHUP in numbers:
            self._signal(ENGINE, signal.SIGHUP)

    def _pass_on(self) -> None:
        """What the engine has to say goes to systemd; some of it is meant for here."""
        while True:
            try:
                lines = self.words.recv(4096).decode().split("\n")
            except BlockingIOError:
                return
            if "READY=1" in lines:
                self.ready = True
                self.deaths.pop(ENGINE, None)
            for line in [one for one in lines if one.startswith(RELOADED)]:
                lines.remove(line)
                self._reloaded(line.removeprefix(RELOADED))
            if lines:
                self.notifier.tell(*lines)

    def _reloaded(self, mark: str) -> None:
        """Keeps the new rules for children to come; files that have changed since are left to the next reload."""
        report = check_all(self.config_path)
        if not report.problems and report.files.mark == mark:
            self.report = report

    # Children

    def _start(self, number: int) -> None:
        # A child that is told to stop before it has forgotten our handlers must not take it for word to us.
        signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        pid = os.fork()
        if pid == 0:
            self._be(number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        self.children[pid] = number
        self.board.started(number, pid, time.time(), again=self.board.life(number).since > 0)

    def _be(self, number: int) -> None:
        """In the child, for the rest of its life."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(one, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the supervisor decides
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # SIGHUP waits for the engine's loop
            os.close(self.lifeline[1])
            threading.Thread(target=_end_with, args=(self.lifeline[0],), name="lifeline", daemon=True).start()
            self.words.close()
            for plug in self.wakeup:
                plug.close()
            name_process(f"relay-{'engine' if number == ENGINE else f'front-{number}'}")
            code = self._engine() if number == ENGINE else self._front(number)
        except OSError as error:
            log.critical("cannot run: %s", error)
        except Exception:
            log.critical("a fault of ours", exc_info=True)
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _engine(self) -> int:
        log_as("engine")
        channel = Channel(self.channel, self.watchdog_s)
        process = Process(self.config_path, self.report, channel, (self.board, self.sockets))
        return uvloop.run(process.run())

    def _front(self, number: int) -> int:
        log_as(f"front {number}")
        self.channel.close()
        os.close(self.lock)  # the engine's to hold

        async def live() -> int:
            return await Front(self.config_path, self.report, self.board, number, self.sockets).run()

        return uvloop.run(live())

    def _bury(self) -> None:
        """Notices who died, and says when to start it again."""
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            number = self.children.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            since = self.board.life(number).since
            self.board.ended(number)
            who = "the engine" if number == ENGINE else f"front {number}"
            if self.stopping_until:
                if number == ENGINE:
                    self.code = 0 if code == -signal.SIGTERM else code  # it had not begun, and nothing is left undone
                continue
            log.error("%s ended with %d (%s)", who, code, "a signal" if code < 0 else "exit status")
            if number == ENGINE and not self._worth_another(code):
                continue
            self.deaths[number] = 0 if time.time() - since > WELL_S else self.deaths.get(number, -1) + 1
            pause_s = PAUSES_S[min(self.deaths[number], len(PAUSES_S) - 1)]
            self.due[number] = time.monotonic() + pause_s

    def _worth_another(self, code: int) -> bool:
        """An engine that could not start at all ends the relay, as a wrong configuration is nothing to try again."""
        if self.ready and self.deaths.get(ENGINE, 0) < TRIES:
            return True
        self.code = code if code > 0 else 1
        self._stop(keep_code=True)
        return False

    def _stop(self, *, keep_code: bool = False) -> None:
        if self.stopping_until:
            return
        self.code = self.code if keep_code else 1  # the engine's own, when it has ended
        self.stopping_until = time.monotonic() + self.config.drain_s + LATE_S
        self.due.clear()
        for number in set(self.children.values()):
            self._signal(number, signal.SIGTERM)

    def _signal(self, number: int, what: signal.Signals) -> None:
        for pid, one in self.children.items():
            if one == number:
                os.kill(pid, what)

    def _kill_all(self) -> None:
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        for pid in list(self.children):
            os.waitpid(pid, 0)


def _end_with(lifeline: int) -> None:
    """Waits for the supervisor's end, and is the end of this process then: nobody would start it again."""
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def log_as(name: str) -> None:
    """Names the process in its log lines."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT.replace("%(name)s", f"{name}: %(name)s"), force=True)


def name_process(name: str) -> None:
    """What `ps` and `top` call this process; only Linux knows how."""
    try:
        Path("/proc/self/comm").write_text(name)
    except OSError:
        return
