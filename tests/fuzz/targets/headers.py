"""Invariant: a header block comes back byte for byte, a field of our own is one field, decoding never raises."""

from __future__ import annotations

from relay.core.headers import Headers, decode_words, one_field, split_message
from relay.core.prose import prose
from relay.prepare.words import encode_addresses, encode_parameters, encode_text, fold, new_field
from tests.fuzz.cutting import MAIL

SEEDS = [*MAIL, b"From a@b\r\nSubject: x\r\n\r\n", b"X: =?utf-8?q?a=C3?= =?utf-8?b?w6Q=?= =?x?q?a?=\r\n\r\n", b"no header\r\n",
         b"A:\r\n \r\n\tb\r\n:x\r\n", "To: Jürgen <j@x.example>, \"ü\" <a@b>, (ü) c@d\r\n\r\n".encode(),
         b"Content-Disposition: attachment; filename=\"\xe4.txt\"; a=b\r\n\r\n", b"Subject: =?utf-8?b?////?=\r\n\r\n"]  # fmt: skip


def target(data: bytes) -> None:
    header, body = split_message(data)
    assert (header + body, header + b"\r\n" + body) != (b"", b"")
    if not data.startswith((b"From ", b">")):
        assert data in (header + body, header + b"\r\n" + body)
    headers = Headers.parse(header)
    assert headers.to_bytes() == header
    prose(header, body)
    for field in headers.fields:
        decode_words(field.value)
        assert fold(field.raw).replace(b"\r\n", b"") == field.raw.replace(b"\r\n", b"")
    text = data[:3000].decode("utf-8", "replace")
    made = one_field(new_field("X-Text", text))
    assert made.raw.isascii()
    line = text.replace("\r", " ").replace("\n", " ")
    assert encode_text(line).isascii()
    for encoded in (encode_addresses(line), encode_parameters(line)):
        assert encoded is None or encoded.isascii()
