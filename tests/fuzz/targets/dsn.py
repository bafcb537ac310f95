"""Invariant: whatever a server, a client or a queue file said, a report is one message with its own fields and parts: CRLF
only, lines within 998 octets, read without a defect by a parser that is not ours."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default

from relay.core.dsn import Action, Report, Reported, build
from tests.fuzz.cutting import one_line, switches, texts

SEEDS = [
    bytes([number]) + b"\xff".join([b"bob@example.net", b"5.1.1", b"rfc822;Bob+2BX@x", b"550 5.1.1 no\r\nX: y", b"Reason", b"mx.example.net",
                                    b"QQ+2B314", b"Subject: x\r\n\r\n", b"ann@example.com"])
    for number in range(8)
]  # fmt: skip
ACTIONS = list(Action)


def target(data: bytes) -> None:
    number, rest = switches(data)
    *words, header, to = texts(rest, 9)
    words = [word.encode("utf-8", "replace").decode() for word in words]
    final, status, orcpt, diagnostic, text, mta, envid = words
    block = b"Subject: " + header.encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
    made = build(Report(
        ACTIONS[number % 4], "relay.example.com", to.encode("utf-8", "replace").decode(),
        (Reported(final, status, orcpt, diagnostic, text, mta, 5.0, 9.0 if number & 4 else 0.0),), 1.0, 2.0,
        "<1@relay.example.com>", "=_abc-boundary-of-this-test", envid=envid, header=block,
        whole=block + b"\r\nbody\r\n" if number & 8 else b"",
    ))  # fmt: skip
    whole = made[0] + b"\r\n" + made[1]
    assert one_line(whole)
    assert max(map(len, whole.split(b"\r\n"))) <= 998
    names = [line.partition(b":")[0] for line in made[0].split(b"\r\n") if line[:1] not in (b" ", b"\t", b"")]
    assert len(names) == len(set(names)), names
    assert whole.count(b"--=_abc-boundary-of-this-test") == 4 + whole.count(b"boundary-of-this-test--") - 1 or number & 8 or (
        b"boundary-of-this-test" in data)
    message = message_from_bytes(whole, policy=default)
    assert message.get_content_type() == "multipart/report"
    assert len(list(message.iter_parts())) == 3
