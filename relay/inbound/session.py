"""The SMTP conversation (RFC 5321) with one client: verbs, their order, and the limits of patience.

    connected ─EHLO/HELO─► greeted ─MAIL─► mail ─RCPT─► recipients ─DATA─► message ─dot─► greeted
                             ▲  AUTH, STARTTLS stay       RSET, EHLO from anywhere ──────────┘

A refusal is raised as Refused wherever it is noticed and said in one place, `_refuse`. Every reply but the
greeting and those to EHLO and HELO carries an enhanced code (RFC 2034 §4).
"""

# ruff: noqa: N802  (aiosmtpd finds commands by these names)
from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import NoReturn

from relay.core.reply import Reply
from relay.inbound.auth import ask_password
from relay.inbound.command import parse_command
from relay.inbound.connection import encode
from relay.inbound.greeting import ehlo_reply, greeting, helo_reply
from relay.inbound.params import helo_text
from relay.inbound.reception import Reception
from relay.inbound.refusals import REFUSALS, Counts, Refused
from relay.inbound.stream import EndOfInput
from relay.inbound.tls import failure_hint
from relay.inbound.transaction import BUSY_S, Transaction

NOT_IMPLEMENTED = frozenset({"EXPN", "TURN", "ATRN", "ETRN", "SEND", "SOML", "SAML", "BURL"})
BROWSER = frozenset({"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT"})
MAX_AUTH_FAILURES = 3
# Refusals that are for the person who set up client or listener: they go to the log with what they mean.
TELLING = frozenset({"relaying-denied", "sender-denied", "auth-needs-tls", "tls-needed", "bare-line-end",
                     "bare-line-feed", "bad-recipient", "bad-sender"})  # fmt: skip
OK = b"250 2.0.0 Ok\r\n"
TLS_TOO_EARLY = "%s begins with TLS on listener %s: set it to STARTTLS, or point it to tls: implicit"
TLS_FAILED = "TLS with %s on listener %s failed: %s"
VERBS_HELP = "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP STARTTLS AUTH QUIT"

log = logging.getLogger(__name__)


class Session(Transaction):
    """One client from greeting to goodbye. `Session(reception, loop)` is a protocol for `create_server`."""

    def __init__(self, reception: Reception, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reception, loop)
        self.errors = 0
        self.auth_failures = 0
        self._legacy = reception.settings.legacy
        self._oldest = 0.0

    def _begin(self) -> None:
        """Starts the conversation, unless the very first bytes tell that the client took this port for another."""
        data = self._input
        # a TLS record of type handshake, or an SSLv2 hello (RFC 5246 appendix E.2)
        if data[:2] == b"\x16\x03" or (data[:1] >= b"\x80" and data[2:3] == b"\x01"):
            log.warning(TLS_TOO_EARLY, self.peer, self.settings.name)
            self._dismiss("tls-on-plain-port")
            return
        super()._begin()

    def drain(self) -> None:
        """Ends now if the client is silent between commands; otherwise after what it is doing."""
        if self.waiting:
            self._dismiss("draining", hostname=self.hostname)

    def dismiss(self) -> None:
        """Ends now with 421 where the client is the one to speak, also in the middle of its message."""
        if self.waiting or self.receiving:
            self._dismiss("draining", hostname=self.hostname)

    def _timed_out(self) -> None:
        if self._closing:
            self.abort()
        elif self.receiving:
            self._dismiss("slow-data", hostname=self.hostname)
        else:
            self._dismiss("idle", hostname=self.hostname, seconds=round(self.settings.idle_timeout_s))

    def _open(self, transport: asyncio.Transport) -> None:
        """Greets the client, or waits for it to begin TLS."""
        self._oldest = self._deadline - self.settings.idle_timeout_s + self.settings.session_timeout_s
        if self.settings.tls == "implicit":
            self._begin()
        else:
            transport.write(greeting(self.hostname))
            self.waiting = True

    async def _handle_client(self) -> None:
        self.waiting = False
        try:
            if self.settings.tls == "implicit":
                await self._start_tls()
                self.say(greeting(self.hostname))
                self._reset_timeout()
            while not self._closing:
                await self._turn()
                self._reset_timeout()
        except ssl.SSLError as error:  # with TLS 1.3 a client complains only after the handshake
            log.warning(TLS_FAILED, self.peer, self.settings.name, failure_hint(error))
        except (EndOfInput, ConnectionError, asyncio.IncompleteReadError) as error:
            log.debug("%s left listener %s: %r", self.peer, self.settings.name, error)
        except OSError as error:
            log.info("connection from %s broke: %s", self.peer, error)
        finally:
            self._set_rset_state()
            self._close()

    async def _turn(self) -> None:
        """One command and what comes of it."""
        try:
            self._check_patience()
            verb, arg = parse_command(await self.read_line(), legacy=self._legacy)
            await (VERBS.get(verb) or self._no_verb(verb))(self, arg)
        except Refused as refused:
            await self._refuse(refused)
        except (EndOfInput, OSError, asyncio.IncompleteReadError):
            raise
        except Exception:
            log.exception("a command from %s went wrong", self.peer)
            self._set_rset_state()
            await self._refuse(Refused("internal"))

    def _check_patience(self) -> None:
        """Raises Refused when there shall be no next command."""
        if self.reception.draining:
            raise Refused("draining", hostname=self.hostname)
        if self.draft is None:
            self.silent_commands += 1
            if self.silent_commands > self.settings.max_idle_commands:
                raise Refused("too-many-commands")
            if self._deadline - self.settings.idle_timeout_s > self._oldest:
                raise Refused("session-too-old", hostname=self.hostname)

    def _no_verb(self, verb: str) -> NoReturn:
        if verb in NOT_IMPLEMENTED:
            raise Refused("not-implemented")
        raise Refused("not-a-browser" if verb in BROWSER else "unknown-command")

    async def _refuse(self, refused: Refused) -> None:
        """Says no, tells the events why, and ends the session when it was a 421 or one error too many."""
        answer = refused.reply
        self.say(encode(answer))
        self._note(refused.reason, answer, sender=self.draft.mail.sender if self.draft else "")
        if refused.reason in TELLING:
            means = REFUSALS[refused.reason].means
            log.info("%s on listener %s was told %s (%s)", self.peer, self.settings.name, answer, means)
        counts = REFUSALS[refused.reason].counts
        forgiven = refused.reason == "mail-first" and self.mail_refused
        if not forgiven and (counts is Counts.ALWAYS or (counts is Counts.STRANGERS and not self.trusted)):
            self.errors += 1
        if answer.code != 421 and self.errors < self.settings.max_errors:
            return
        if answer.code != 421:
            answer = Refused("too-many-errors").reply
            self.say(encode(answer))
            self._note("too-many-errors", answer)
        await self.flush()
        raise EndOfInput

    # greeting

    def _greet(self, arg: str | None, *, extended: bool) -> None:
        self.helo = helo_text(arg)
        self.extended = extended
        self._client = None
        self._set_rset_state()  # RFC 5321 §4.1.4: EHLO clears all buffers

    async def smtp_HELO(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.1."""
        self._greet(arg, extended=False)
        self.say(helo_reply(self.hostname))

    async def smtp_EHLO(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.1."""
        self._greet(arg, extended=True)
        settings = self.settings
        starttls = settings.tls == "starttls" and self.reception.tls is not None and not self.tls_version
        self.say(ehlo_reply(
            self.hostname, settings.max_message_bytes, starttls=starttls, auth=self.auth_open, legacy=settings.legacy
        ))  # fmt: skip

    # TLS and AUTH

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """RFC 3207 §4: what was said before is forgotten, what came after in clear is thrown away."""
        if self.tls_version:
            raise Refused("tls-active")
        if arg:
            raise Refused("syntax", syntax="STARTTLS")
        if self.settings.tls != "starttls" or self.reception.tls is None:
            raise Refused("tls-unavailable")
        if self.draft is not None:
            raise Refused("in-transaction")
        self.say(b"220 2.0.0 Ready to start TLS\r\n")
        await self.flush()
        await self._start_tls()

    async def _start_tls(self) -> None:
        """Wraps the connection in TLS; when that fails, says why in the log and ends it."""
        assert self.reception.tls is not None
        self._reset_timeout(BUSY_S)
        try:
            await self.encrypt(self.reception.tls, self.settings.tls_handshake_s)
        except OSError as error:  # ssl.SSLError, ConnectionError and TimeoutError are OSErrors
            log.warning(TLS_FAILED, self.peer, self.settings.name, failure_hint(error))
            self._note("tls-failed", Refused("tls-failed").reply)
            self.reception.leave(self, self.peer)  # asyncio tells nobody about a connection lost this early
            raise EndOfInput from error
        tls = self.transport.get_extra_info("ssl_object") if self.transport else None
        self.tls_version = (tls.version() if tls else None) or "TLS"
        self.helo, self.extended, self.credential, self._client = "", False, None, None
        self._set_rset_state()

    async def smtp_AUTH(self, arg: str | None) -> None:
        """RFC 4954 §4."""
        if not self.helo:
            raise Refused("hello-first")
        if self.settings.auth == "none":
            raise Refused("auth-unavailable")
        if not self.auth_open:
            raise Refused("auth-needs-tls")
        if self.draft is not None:
            raise Refused("in-transaction")
        if self.credential is not None:
            raise Refused("auth-again")
        name, password = await ask_password(self, arg)
        await self.flush()
        self._reset_timeout(BUSY_S)
        try:
            self.credential = await self.reception.access.authenticate(name, password, self.peer)
        except Refused as refused:
            log.warning("login of %s as %r on listener %s: %s", self.peer, name[:64], self.settings.name,
                        refused.reason)  # fmt: skip
            await self._count_auth_failure(refused)
            raise
        self._client = None
        self.silent_commands = 0
        self.say(b"235 2.7.0 Authentication successful\r\n")

    async def _count_auth_failure(self, refused: Refused) -> None:
        self.auth_failures += 1
        if self.auth_failures >= MAX_AUTH_FAILURES:
            await self._refuse(refused)
            raise Refused("auth-failures")

    # the small verbs

    async def smtp_RSET(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.5."""
        self._set_rset_state()
        self.say(OK)

    async def smtp_NOOP(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.9; pools keep their connections warm with it."""
        self.say(OK)

    async def smtp_VRFY(self, arg: str | None) -> None:
        """RFC 5321 §3.5.3: 252, as an address is never verified here."""
        if not arg:
            raise Refused("syntax", syntax="VRFY address")
        self.say(b"252 2.5.0 Cannot verify, send some mail and see\r\n")

    async def smtp_HELP(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.8."""
        self.say(encode(Reply(214, "2.0.0", (VERBS_HELP,))))

    async def smtp_BDAT(self, arg: str | None) -> None:
        """Not announced (RFC 3030); still its bytes are counted off, lest they be taken for commands."""
        size = (arg or "").split(" ")[0]
        if not (size.isascii() and size.isdigit() and len(size) <= 20):
            raise Refused("syntax", syntax="BDAT size [LAST]")
        left = int(size)
        while left:
            chunk = await self.read_chunk()
            self.unread(chunk[left:])
            left -= min(left, len(chunk))
        raise Refused("not-implemented")

    async def smtp_QUIT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.10."""
        self.say(b"221 2.0.0 Bye\r\n")
        await self.flush()
        raise EndOfInput


VERBS: dict[str, Callable[[Session, str | None], Awaitable[None]]] = {
    name.removeprefix("smtp_"): method for name, method in vars(Session).items() if name.startswith("smtp_")
} | {"MAIL": Session.smtp_MAIL, "RCPT": Session.smtp_RCPT, "DATA": Session.smtp_DATA}
