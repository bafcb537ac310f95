"""CR, LF, NUL and other controls where a line of somebody else's could be made of them: none gets through."""

from __future__ import annotations

import asyncio

import pytest

from relay.core.content import Content
from relay.core.dsn import Action, Report, Reported, build
from relay.core.headers import Headers, one_field
from relay.inbound.refusals import Refused
from relay.policy.facts import Facts
from relay.policy.templates import compile_template
from relay.prepare.message import Edits, Preparer
from relay.prepare.words import new_field
from tests.dialogues.stage import stage
from tests.unit.test_prepare_message import HEAD, prepare

CONTROLS = ["\r", "\n", "\0", "\t", "\x0b", "\x0c", "\x1b", "\x1c", "\x7f", "\x08"]
UNICODE_LINE_ENDS = ["\x85", "\u2028", "\u2029"]
COMMANDS = [
    "EHLO cli{}ent", "HELO cli{}ent", "MAIL FROM:<a{}@example.com>", "MAIL FROM:<a@example.com> ENVID=Q{}Q",
    "RCPT TO:<b{}@example.net>", "RCPT TO:<b@exam{}ple.net>", "RCPT TO:<b@example.net> ORCPT=rfc822;b{}@example.net",
    "VRFY a{}b", "NOOP {}", "RSET{}",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_controls_in_commands_are_refused(command: str) -> None:
    """A CR or LF inside would be a second line for whoever reads our commands, headers or log later."""

    async def run() -> None:
        async with stage(max_errors=10**9) as one:
            peer = await one.connect()
            await peer.greet()
            if command.startswith("RCPT"):
                await peer.ask("MAIL FROM:<a@example.com>")
            for control in CONTROLS:
                data = command.format(control).encode() + b"\r\n"
                peer.send(data)
                replies = [(await peer.reply())[-1] for _ in range(data.count(b"\n"))]
                assert all(one[0] == "5" for one in replies), (data, replies)
            await peer.close()

    asyncio.run(run())


@pytest.mark.parametrize("value", ["a+0D+0Ab", "a+00b", "a+0Ab", "a+7Fb", "a+1Bb"])
def test_controls_hidden_in_xtext_are_refused(value: str) -> None:
    """RFC 3461 §4: xtext stands for printable characters only, so that no report decodes a line end."""

    async def run() -> None:
        async with stage() as one:
            peer = await one.connect()
            await peer.greet()
            assert (await peer.ask(f"MAIL FROM:<a@example.com> ENVID={value}")).startswith("501 5.5.4")
            await peer.ask("MAIL FROM:<a@example.com>")
            assert (await peer.ask(f"RCPT TO:<b@example.net> ORCPT=rfc822;{value}")).startswith("501 5.5.4")
            await peer.close()

    asyncio.run(run())


def test_a_report_decodes_no_line_end() -> None:
    """Even when the queue held an ENVID or ORCPT that no listener lets in."""
    evil = "Q+0D+0AX-Evil: 1"
    header, body = build(Report(
        Action.FAILED, "relay.example.com", "ann@example.com",
        (Reported("b@example.net", "5.1.1", orcpt=f"rfc822;{evil}", diagnostic="550 no\r\nX-Evil: 2",
                  text="a\nX-Evil: 3", remote_mta="mx\r\nX-Evil: 4"),),
        0.0, 0.0, "<1@relay.example.com>", "=_b", envid=evil,
    ))  # fmt: skip
    assert not any(line.startswith(b"X-Evil") for line in (header + body).split(b"\n"))
    assert not any(line.startswith(b"X-Evil") for line in (header + body).split(b"\r"))


@pytest.mark.parametrize("control", [*CONTROLS, *UNICODE_LINE_ENDS])
def test_a_template_fills_in_one_line(control: str) -> None:
    """What a policy copies from a header into a tag or another header."""
    inside = "\r\n " if control in "\r\n" else control  # the parser has no other line end in a field
    value = f"spring{inside}X-Evil: 1"
    headers = Headers.parse(f"X-Campaign: {value}\r\n".encode())
    facts = Facts("apps", "10.0.0.9", "", f"a{control}b@example.com", ("b@example.net",), headers, 1, 0)
    for text in ("{header:X-Campaign}", "{sender}"):
        filled = compile_template(text).render(facts)
        assert filled.isprintable()
        assert len(filled.splitlines()) == 1


def test_encoded_words_bring_no_line_end_into_a_template() -> None:
    headers = Headers.parse(b"X-Campaign: =?utf-8?q?a=0D=0AX-Evil:_1?= =?utf-8?b?DQpYLUV2aWw6IDI=?=\r\n")
    filled = compile_template("{header:X-Campaign}").render(Facts("", "", "", "", (), headers, 1, 0))
    assert filled.isprintable()


@pytest.mark.parametrize("control", CONTROLS + UNICODE_LINE_ENDS)
def test_headers_added_by_a_policy_are_one_field(control: str) -> None:
    result = prepare(HEAD + b"\r\n", edits=Edits((), (("X-Added", f"a{control}X-Evil: 1"),)))
    assert isinstance(result, Content)
    assert "x-evil" not in Headers.parse(result.header).names()
    assert result.header.count(b"\r") == result.header.count(b"\n") == result.header.count(b"\r\n")


@pytest.mark.parametrize("name", ["X-A\r\nX-Evil", "X A", "X:A", "", "X-ü", "X-A\0", "X-A\n"])
def test_a_header_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="header name"):
        new_field(name, "value")


NO_FIELD = [b"X: a\r\nX-Evil: 1\r\n", b"X: a\r\n\r\n", b"X: a", b"X: a\n", b"X: a\r\r\n", b": a\r\n"]


@pytest.mark.parametrize("raw", NO_FIELD)
def test_one_field_is_one(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not one complete header field"):
        one_field(raw)


@pytest.mark.parametrize("helo", ["a\r\nX-Evil: 1", "a(b", "a)b;x", "<evil>", "ü"])
def test_the_name_a_client_gives_adds_nothing_to_received(helo: str) -> None:
    """The listener lets none of these in; the field would be whole if it did."""
    result = prepare(HEAD + b"\r\n", helo=helo)
    assert isinstance(result, Content)
    assert "x-evil" not in Headers.parse(result.header).names()


def test_replies_echo_what_was_said_on_one_line() -> None:
    for control in [*CONTROLS, *UNICODE_LINE_ENDS]:
        (line,) = Refused("bad-recipient", text=f"no{control}250 2.1.5 Ok").reply.lines
        assert line.isascii()
        assert line.isprintable()


def test_our_own_name_is_no_field() -> None:
    """A hostname is checked by the configuration; what reaches the trace field is one line whatever it is."""
    preparer = Preparer("relay.example.com")
    result = prepare(HEAD + b"\r\n", preparer=preparer, sender="a\u2028b@example.com", credential="x; y")
    assert isinstance(result, Content)
    assert len(Headers.parse(result.header).all("received")) == 1
