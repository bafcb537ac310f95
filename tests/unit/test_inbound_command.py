"""Command lines: verb and argument, or the reason why not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.inbound.command import parse_command
from relay.inbound.refusals import Refused


@pytest.mark.parametrize(
    ("line", "verb", "arg"),
    [
        (b"NOOP\r\n", "NOOP", None),
        (b"noop \r\n", "NOOP", None),
        (b"Mail FROM:<a@b>  \r\n", "MAIL", "FROM:<a@b>"),
        (b"RCPT   TO:<\xc3\xbc@b>\r\n", "RCPT", "TO:<ü@b>"),
        (b"RCPT TO:<\xfc@b>\r\n", "RCPT", "TO:<\udcfc@b>"),
        (b"AUTH PLAIN " + b"A" * 12_000 + b"\r\n", "AUTH", "PLAIN " + "A" * 12_000),
    ],
)
def test_verb_and_argument(line: bytes, verb: str, arg: str | None) -> None:
    assert parse_command(line, legacy=False) == (verb, arg)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"NOOP\n", "bare-line-feed"),
        (b"NO\rOP\r\n", "control-character"),
        (b"NOOP\r\r\n", "control-character"),
        (b"EHLO\tx\r\n", "control-character"),
        (b"\0\r\n", "control-character"),
        (b"\r\n", "empty-line"),
        (b"   \r\n", "empty-line"),
        (b"NOOP " + b"x" * 506 + b"\r\n", "line-too-long"),
        (b"MAIL " + b"x" * 2042 + b"\r\n", "line-too-long"),
        (b"AUTH " + b"x" * 12_282 + b"\r\n", "line-too-long"),
    ],
)
def test_what_is_refused(line: bytes, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        parse_command(line, legacy=False)


def test_legacy_clients_may_end_with_a_line_feed() -> None:
    assert parse_command(b"NOOP\n", legacy=True) == ("NOOP", None)


@given(st.binary(max_size=100), st.booleans())
def test_nothing_but_refusals(data: bytes, legacy: bool) -> None:
    try:
        verb, arg = parse_command(data.replace(b"\n", b"") + b"\r\n", legacy=legacy)
    except Refused:
        return
    assert "\r" not in verb + (arg or "")
    assert "\0" not in verb + (arg or "")
