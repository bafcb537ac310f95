"""Invariant: whatever message comes in, something legal leaves or it is refused with a line of the table: fields that
parse, lines within 998 octets, CRLF only, a body untouched unless it says otherwise."""

from __future__ import annotations

from relay.core.content import Content
from relay.core.headers import Headers
from relay.inbound.refusals import REFUSALS
from relay.prepare.message import Refusal
from tests.fuzz.cutting import MAIL, one_line, switches
from tests.unit.test_prepare_message import HEAD, prepare

SEEDS = [bytes([number]) + mail for number in (0, 1, 2, 7) for mail in [*MAIL, HEAD + b"\r\nx" * 3, HEAD + b"To: a@b\r\n\r\n\xe4\r\n"]] + [
    b"\3" + HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\xe4\r\n--b--\r\n",
    b"\3Subject: \xe4\r\nX: " + b"y " * 700 + b"\r\n\r\n" + b"z" * 1200,
]  # fmt: skip


def target(data: bytes) -> None:
    number, raw = switches(data)
    message = raw.replace(b"\r", b"").replace(b"\n", b"\r\n")  # what the receiver lets through has CRLF only
    legacy, mode = bool(number & 1), "quoted-printable" if number & 2 else "keep"
    if not legacy:
        message = message.replace(b"\0", b"")
    result = prepare(message, legacy=legacy, eight_bit=mode, utf8=bool(number & 4))
    if isinstance(result, Refusal):
        assert result.reason in REFUSALS
        assert result.reply.code == 550
        return
    assert isinstance(result, Content)
    assert one_line(result.header)
    fields = Headers.parse(result.header)
    assert max(map(len, result.header.split(b"\r\n"))) <= 998
    for name in ("date", "message-id", "from"):
        assert fields.count(name) >= 1, name
    assert fields.count("from") == 1
    assert not fields.count("bcc")
    body = b"".join(result.body.chunks())
    assert message.endswith(body) or not message.isascii() or result.long_lines is not None
