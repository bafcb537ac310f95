"""Invariant: relaxed canonical form is that of dkimpy, whatever the chunks (RFC 6376 §3.4)."""

from __future__ import annotations

from dkim.canonicalization import Relaxed

from relay.core.headers import Headers, split_message
from relay.prepare.canonical import relaxed_body, relaxed_header
from tests.fuzz.cutting import MAIL, cut_up, with_cuts

SEEDS = with_cuts([*MAIL[:4], b" C \r\nD \t E\r\n\r\n\r\n", b"a:\t \r\n\r\n \r\nx", b"\r\n\r\n", b"x\r\n \t\r\n"])


def target(data: bytes) -> None:
    data = data.ljust(4, b"\0")
    payload, _ = cut_up(data)
    message = payload.replace(b"\r", b"").replace(b"\n", b"\r\n")
    message += b"" if message.endswith(b"\r\n") else b"\r\n"  # without it dkimpy leaves space at the very end
    _, parts = cut_up(data[:4] + message)
    assert b"".join(relaxed_body(parts)) == (
        Relaxed.canonicalize_body(message) if message.strip(b"\r\n \t") else b""
    )
    header, _ = split_message(message)
    for field in Headers.parse(header).fields:
        name, _, value = field.raw.partition(b":")
        if b"\x0b" in field.raw or b"\x0c" in field.raw or not value.strip():
            continue  # dkimpy takes these two for white space, RFC 5234 does not; and an empty value is split differently
        ((want_name, want_value),) = Relaxed.canonicalize_headers([(name, value)])
        assert relaxed_header(field.raw) == want_name + b":" + want_value, field.raw
