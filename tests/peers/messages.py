"""Real messages as programs send them: every kind of body a relay must carry without a changed byte."""

from __future__ import annotations

import random
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from pathlib import Path

from test import test_email

FROM, TO = "Shop <shop@shop.test>", "you@postfix.test"


def _message(subject: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = FROM, TO, subject
    message["Date"] = "Sat, 21 Nov 2026 10:00:00 +0000"
    return message


def plain() -> bytes:
    """A line of text."""
    message = _message("plain")
    message.set_content("Your code is 123456\n")
    return message.as_bytes()


def alternative_with_attachments() -> bytes:
    """Text and HTML, a picture inside, two attachments, umlauts in a file name."""
    message = _message("Ihre Bestellung über 17 €")
    message.set_content("Grüße\n")
    message.add_alternative("<p>Grüße <img src='cid:logo'></p>", subtype="html")
    part = message.get_payload()[1]
    part.add_related(random.Random(1).randbytes(3000), "image", "png", cid="<logo>")
    data = random.Random(2).randbytes(40_000)
    message.add_attachment(data, maintype="application", subtype="pdf", filename="Rechnung März.pdf")
    message.add_attachment("a;b\n1;2\n", subtype="csv", filename="list.csv")
    return message.as_bytes()


def eight_bit() -> bytes:
    """UTF-8 text sent as it is (RFC 6152)."""
    message = EmailMessage(policy=SMTPUTF8)
    message["From"], message["To"], message["Subject"] = FROM, TO, "eight bit"
    message.set_content("Grüße aus Köln, 你好, 🎉\n" * 50, cte="8bit")
    return message.as_bytes()


def edges() -> bytes:
    """Dots, spaces at line ends, tabs, empty lines at the end, lines of 998 bytes (RFC 5322 §2.1.1)."""
    head = f"From: {FROM}\r\nTo: {TO}\r\nSubject: edges\r\n\r\n".encode()
    lines = [b".", b"..", b".x", b"  spaces  ", b"\ttab\t", b"x" * 998, b"", b"From here", b"", b"", b""]
    return head + b"\r\n".join(lines)


def large(size: int = 20_000_000) -> bytes:
    """An attachment that makes the message at least `size` bytes."""
    message = _message("large")
    message.set_content("see the attachment\n")
    message.add_attachment(random.Random(3).randbytes(size * 57 // 78), maintype="video", subtype="mp4",
                           filename="film.mp4")  # fmt: skip
    return message.as_bytes()


MADE = {"plain": plain, "attachments": alternative_with_attachments, "eight bit": eight_bit, "edges": edges,
        "20 MB": large}  # fmt: skip


def corpus() -> list[Path]:
    """CPython's own collection of odd MIME messages, in the interpreter's test package."""
    return sorted((Path(test_email.__file__).parent / "data").glob("msg_*.txt"))
