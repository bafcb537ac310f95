"""A front as a process: it talks to clients, decides, prepares and signs, and hands over to the engine."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import time
from pathlib import Path

from relay.config.check import CheckReport, read_rules
from relay.config.files import Files
from relay.config.model import Config
from relay.inbound.board import Board
from relay.inbound.frontgate import FrontGate, RemoteFeedback, RemoteGuesses
from relay.policy.model import Policy, Stream
from relay.prepare.keys import KeyRing
from relay.prepare.signing import SigningDesk
from relay.queue.handoff import Handoff
from relay.queue.spool import Spool
from relay.service.changes import in_force
from relay.service.feedback import feedback_addresses
from relay.service.garbage import collect_for_ever, settle
from relay.service.inlet import RETURN_PATH_KEY, Inlet, Share, Sockets, Ways
from relay.service.keyfile import secret_file
from relay.service.rules import Rules
from relay.service.settings import listener_context, ways

log = logging.getLogger("relay")


class Front:
    """One of several; the engine counts and stores, the board says what the other fronts hold."""

    def __init__(self, config_path: Path, report: CheckReport, board: Board, number: int, sockets: Sockets) -> None:
        assert report.config is not None
        self.config_path, self.sockets = config_path, sockets
        self.config: Config = report.config
        self.rules = _rules(report)
        config, self.keys, self.desk = self.config, KeyRing(report.config.data / "dkim"), SigningDesk()
        spool = Spool(config.data / "spool", f"front-{number}")
        spool.clear()
        self.handoff = Handoff(config.handoff_socket, number, spool, mark=self.rules.mark, rules=self.take)
        self.gate = FrontGate(
            policy=self.policy, signing=self._signing, publish=self.handoff.publish, clock=time.time, ways=ways(config)
        )
        self.gate.handoff, self.gate.board, self.gate.number = self.handoff, board, number
        self.feedback: RemoteFeedback | None = None
        self.share, self.spool = Share(board, number, RemoteGuesses(self.handoff)), spool
        self.inlet: Inlet | None = None
        self.ended = asyncio.Event()

    def policy(self) -> Policy:
        """The policy as it is now."""
        return self.rules.policy

    def _signing(self, stream: Stream, domain: str) -> list[str]:
        return [signer.domain for signer in self.keys.signers(stream.signings, domain)]

    async def run(self) -> int:
        """Lets clients in once the engine is there, until SIGTERM; then finishes what is under way."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.ended.set)
        connecting = loop.create_task(self.handoff.run(), name="hand-over")
        connecting.add_done_callback(lambda _: self.ended.set())
        ready, ended = loop.create_task(self.handoff.ready.wait()), loop.create_task(self.ended.wait())
        await asyncio.wait([ready, ended], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not ended.done():
            await self._let_in()
        settle()
        collecting = loop.create_task(collect_for_ever(), name="garbage")
        await ended
        broken = connecting.done()
        if self.inlet is not None:
            await asyncio.gather(*(one.drain(self.config.drain_s) for one in self.inlet.listeners))
            await self.inlet.close()
        self.desk.close()
        await self.handoff.close()
        connecting.cancel()
        collecting.cancel()
        await asyncio.gather(connecting, collecting, return_exceptions=True)
        return 1 if broken else 0

    async def _let_in(self) -> None:
        config = self.config
        key = secret_file(config.data / RETURN_PATH_KEY)
        self.feedback = RemoteFeedback(self.handoff, key, feedback_addresses(config))
        ways_on = Ways(self.gate, self.handoff.put, self.handoff.publish, self.spool, self.feedback)
        self.inlet = Inlet(
            self.config, self.rules, ways_on, policy=self.policy, keys=self.keys, desk=self.desk, share=self.share
        )
        await self.inlet.listen(self.sockets)
        self.handoff.opened()
        log.info("takes mail")

    async def take(self, mark: str, files: bytes) -> str:
        """Takes the rules in force; returns what is wrong with them here, and goes on with the old ones then."""
        try:
            report = await asyncio.get_running_loop().run_in_executor(None, self._read, files)
            if report.problems or report.config is None:
                return "; ".join(map(str, report.problems))
            config, _ = in_force(self.config, report.config)
            contexts: dict[str, ssl.SSLContext | None] = {
                name: listener_context(config, one) for name, one in config.listeners.items()
            }
        except (OSError, ValueError) as error:
            return str(error)
        self.config, self.rules = config, _rules(report)
        self.keys.refresh()
        self.gate.ways = ways(config)
        if self.feedback is not None:
            self.feedback.addresses = feedback_addresses(config)
        if self.inlet is not None:
            self.inlet.take(config, self.rules, contexts)
        log.info("has taken the rules %s", mark)
        return ""

    def _read(self, files: bytes) -> CheckReport:
        return read_rules(self.config_path, Files.unpacked(files))


def _rules(report: CheckReport) -> Rules:
    assert report.policy is not None
    return Rules(report.policy, report.credentials, time.time(), report.files.mark)
