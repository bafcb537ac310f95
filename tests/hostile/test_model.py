"""The listener against the reference model: whatever clients send, legal or not, in pieces of any size.

Invariant: every command gets exactly one reply with the first digit of the model's, connections do not disturb each
other, and what was accepted is exactly what the model accepted, byte for byte.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from relay.core.envelope import Submission
from relay.core.reply import Reply, reply
from relay.inbound.backoff import Backoff
from relay.inbound.settings import networks
from tests.conftest import examples
from tests.dialogues.stage import LOOPBACK, Peer, client_context, stage
from tests.hostile.model import RECIPIENTS, RECIPIENTS_MOST, SENDERS, SIZE_LIMIT, House, Mail, Server

BAD_SENDERS = [
    b"FROM:", b"FROM:<a@example.com", b"FROM:<a@example.com>SIZE=1", b"FROM:<a@example.com> FOO=1",
    b"FROM:<a@example.com> SIZE=x", b"FROM:<a..b@example.com>", b"TO:<a@example.com>", b"<a@example.com>",
    "FROM:<jürgen@example.com>".encode(), b"FROM:<a@example.com> SIZE=1 SIZE=1", b"FROM:<a@-example.com>", b"",
    b"FROM:<a@example.com\xff>",
]  # fmt: skip
BAD_RECIPIENTS = [
    b"TO:", b"TO:<>", b"TO:<nobody>", b"TO:<b@example.net> FOO", b"TO:<b@[192.0.2.1]>", b"TO:<b@example.net",
    b"FROM:<b@example.net>", b"TO:<b@@example.net>", b"TO:<b@example.net> NOTIFY=NEVER,FAILURE", b"",
]  # fmt: skip


def plain(name: bytes, password: bytes, as_whom: bytes = b"") -> bytes:
    return base64.b64encode(as_whom + b"\0" + name + b"\0" + password)


LOGINS = [
    b"AUTH PLAIN " + plain(b"printer", b"ink"),
    b"auth plain " + plain(b"shop", b"open sesame", b"shop"),
    b"AUTH PLAIN " + plain(b"shop", b"wrong"),
    b"AUTH PLAIN " + plain(b"nobody", b"ink"),
    b"AUTH PLAIN " + plain(b"printer", b"ink", b"shop"),
    b"AUTH PLAIN", b"AUTH LOGIN", b"AUTH LOGIN " + base64.b64encode(b"printer"), b"AUTH LOGIN =",
    b"AUTH", b"AUTH CRAM-MD5", b"AUTH PLAIN !", b"AUTH PLAIN a b", b"AUTH PLAIN " + b"A" * 600,
]  # fmt: skip
ANSWERS = [base64.b64encode(b"printer"), base64.b64encode(b"ink"), plain(b"printer", b"ink"), b"*", b"=", b"%%%"]
SMALL = [
    b"EHLO client.example", b"EHLO client.example", b"ehlo [192.0.2.9]", b"HELO old.example", b"EHLO", b"HELO ",
    b"RSET", b"NOOP", b"noop x", b"VRFY someone", b"VRFY", b"HELP", b"HELP MAIL", b"QUIT", b"DATA", b"DATA x",
    b"STARTTLS", b"STARTTLS now", b"EXPN list", b"TURN", b"BDAT 4 LAST\r\nRSET", b"BDAT 0", b"BDAT x", b"XYZZY",
    b"", b" ", b"\tNOOP", b"NO\0OP", b"NOOP\x7f", b"NOOP " + b"x" * 600, "NOOP ü".encode(), b"\xff\xfe", b"MAIL",
]  # fmt: skip
TEXT = [
    b"Subject: a word", b"X-Fate: later", b"Received: from x by y", b"", b".", b"..", b". ", b".x", b"\r.",
    b"a\nb", b"\n.\n", b"\n.", b"\r", b"nul\0", b"8\xe4bit", b"From a@example.com Mon", b" folded", b"RSET", b"x" * 999,
]  # fmt: skip
# Bare line feeds part commands on a listener that repairs; there they are sent within messages only.
COMMANDS = st.one_of(
    st.sampled_from(SMALL),
    st.sampled_from([b"MAIL " + one for one in [*SENDERS, *BAD_SENDERS]]),
    st.sampled_from([b"RCPT " + one for one in [*RECIPIENTS, *BAD_RECIPIENTS]]),
    st.sampled_from(LOGINS),
    st.sampled_from(ANSWERS),
).map(lambda line: [line])  # fmt: skip
ENVELOPES = st.tuples(
    st.sampled_from(list(SENDERS)), st.lists(st.sampled_from(list(RECIPIENTS)), min_size=1, max_size=5)
).map(lambda one: [b"MAIL " + one[0], *(b"RCPT " + rcpt for rcpt in one[1]), b"DATA"])
BROKEN_OFF = st.tuples(ENVELOPES, st.sampled_from([b"EHLO x", b"HELO x", b"RSET", b"STARTTLS", *SMALL]), ENVELOPES).map(
    lambda one: [*one[0][:-1], one[1], *one[2][1:]]  # a transaction cut short, and the rest of another
)
MESSAGES = st.one_of(
    st.lists(st.sampled_from(TEXT), max_size=6),
    st.just([b"Received: from x by y"] * 100),
    st.just([b"y" * 900] * (SIZE_LIMIT // 900 + 1)),
).map(lambda lines: [b"Subject: hello", *lines])
MAILS = st.tuples(ENVELOPES, MESSAGES).map(lambda one: [*one[0], *one[1], b"."])
OPENINGS = st.sampled_from([
    [b"EHLO client.example"], [b"HELO old.example"], [b"EHLO x", b"STARTTLS"],
    [b"EHLO x", b"AUTH PLAIN " + plain(b"printer", b"ink")],
])  # fmt: skip
GREETED = st.tuples(OPENINGS, MAILS, MAILS).map(lambda one: [*one[0], *one[1], *one[2]])
WORDS = st.lists(st.sampled_from(TEXT), min_size=1, max_size=3)
KINDS = [COMMANDS, GREETED, GREETED, MAILS, BROKEN_OFF, OPENINGS, WORDS]
PARTS = st.sampled_from(KINDS).flatmap(lambda part: part)


@st.composite
def speech(draw: st.DrawFn) -> list[bytes]:
    """What a client says in one go."""
    return [line for part in draw(st.lists(PARTS, min_size=1, max_size=6)) for line in part]


PLACES = st.integers(0, 2)
HOUSES = st.builds(
    House, legacy=st.booleans(), tls=st.sampled_from([True, True, False]),
    auth=st.sampled_from(["none", "optional", "required"]), clear_auth=st.booleans(),
    friendly=st.sampled_from([True, True, False]),
)  # fmt: skip


async def fate(submission: Submission) -> Reply | None:
    """The queue of this test takes everything but what asks to come later."""
    return reply(451, "4.3.0", "later") if b"X-Fate: later" in submission.content.header else None


def as_model(submission: Submission) -> Mail:
    envelope = submission.envelope
    recipients = tuple((one.address, one.notify, one.orcpt) for one in envelope.recipients)
    return Mail(
        envelope.sender, envelope.ret, envelope.envid, recipients, submission.client.protocol,
        submission.client.credential, submission.content.header, b"".join(submission.content.body.chunks()),
    )  # fmt: skip


class Clients(RuleBasedStateMachine):
    """Up to three clients of one listener, each with a model of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.accepted: list[Mail] = []
        self.open: dict[int, tuple[Peer, Server]] = {}

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize(house=HOUSES)
    def listen(self, house: House) -> None:
        self.house = house
        self.context = stage(
            networks=networks(LOOPBACK) if house.friendly else (), tls="starttls" if house.tls else "none",
            auth=house.auth, auth_clear=house.clear_auth, profile="legacy" if house.legacy else "modern",
            max_message_bytes=SIZE_LIMIT, max_recipients=RECIPIENTS_MOST, max_errors=10**9, max_idle_commands=10**9,
        )  # fmt: skip
        self.one = self.run(self.context.__aenter__())
        self.one.ears.after = fate

    def _client(self, place: int) -> tuple[Peer, Server]:
        """The client at one of three places; a new one where nobody is."""
        if place not in self.open:
            peer = self.run(self.one.connect())
            assert self.run(peer.reply())[0].startswith("220 ")
            self.open[place] = (peer, Server(self.house))
        return self.open[place]

    @rule(place=PLACES, lines=speech(), cuts=st.lists(st.integers(1, 400), max_size=4), bare=st.booleans())
    def speak(self, place: int, lines: list[bytes], cuts: list[int], bare: bool) -> None:
        peer, model = self._client(place)
        data = b"".join(line + b"\r\n" for line in lines)
        if bare and model.data is None and self.house.legacy:
            data = data.replace(b"\r\n", b"\n", 1)
        self.run(self._speak(peer, model, data, cuts))
        if model.closed:
            del self.open[place]

    async def _speak(self, peer: Peer, model: Server, data: bytes, cuts: list[int]) -> None:
        self.one.reception.access.backoff = Backoff()  # the price of guessing is not what is looked at here
        assert not peer.reader._buffer, "a reply that nobody asked for"
        before = len(model.accepted)
        expected = model.take(data)
        for piece in turning(data, model.unread) if model.closed or model.handshake else pieces(data, cuts):
            peer.send(piece)
            with contextlib.suppress(ConnectionError):  # it may have closed: that is checked below
                await peer.writer.drain()
            await asyncio.sleep(0)
        for digit in expected:
            lines = await peer.reply()
            assert lines[0][:1] == str(digit), (data, lines, expected)
            check_form(lines)
        self.accepted += model.accepted[before:]
        if model.closed:
            assert await peer.end() == b"", "replies after the end"
            await peer.close()
        elif model.handshake:
            await peer.starttls(client_context())
            model.secured()

    @rule(place=PLACES, how=st.sampled_from(["close", "reset", "half-close"]))
    def leave(self, place: int, how: str) -> None:
        """Goes in the middle of whatever it is: nothing unfinished may count."""
        if place not in self.open:
            return
        peer, model = self.open.pop(place)
        if how == "half-close" and not model.tls:
            peer.writer.write_eof()
            assert self.run(peer.end()) == b""
        elif how == "reset":
            peer.reset()
        self.run(peer.close())

    @invariant()
    def compare(self) -> None:
        assert [as_model(one) for one in self.one.mail] == self.accepted

    def teardown(self) -> None:
        try:
            if hasattr(self, "one"):
                for peer, model in self.open.values():
                    self.run(self._part(peer, model))
                self.compare()
                self.run(self.context.__aexit__(None, None, None))
        finally:
            self.runner.close()

    async def _part(self, peer: Peer, model: Server) -> None:
        if model.data is None and model.asking is None and not model.skipping:
            assert await peer.ask("NOOP") == "250 2.0.0 Ok"
            assert (await peer.ask("QUIT")).startswith("221 ")
            assert await peer.end() == b""
        await peer.close()


def turning(data: bytes, unread: int) -> list[bytes]:
    """Data with a QUIT or STARTTLS in it: the last line and a little behind it in one piece, as what comes any
    later meets a closed door, or is taken for a TLS record."""
    start = data.rfind(b"\n", 0, len(data) - unread - 1) + 1
    return [piece for piece in (data[:start], data[start : len(data) - unread + 300]) if piece]


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data cut after so many bytes, again and again; the rest in one."""
    found = []
    for cut in cuts:
        found.append(data[:cut])
        data = data[cut:]
    return [piece for piece in [*found, data] if piece]


def check_form(lines: list[str]) -> None:
    """RFC 5321 §4.2.1: one code, hyphens on all lines but the last; RFC 2034 §4: the class is the first digit."""
    code = lines[0][:3]
    for line in lines:
        assert line[:3] == code
        assert len(line) <= 510
        assert line[3] == ("-" if line is not lines[-1] else " ")
        if line[4:6] in ("2.", "4.", "5."):
            assert line[4] == code[0], line


Clients.TestCase.settings = examples(60, stateful_step_count=15)
TestClients = Clients.TestCase
