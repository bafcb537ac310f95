"""Known holes of other mail programs and of the libraries below us, one test each. docs/security.md has the list."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from importlib.metadata import version
from pathlib import Path

import pytest

from relay.core.headers import Headers
from relay.prepare.words import new_field
from relay.queue.store import Filter
from relay.smtp.client import Result
from relay.smtp.wire import ReplyReader
from tests.dialogues.stage import client_context, stage, until
from tests.unit.smtp_dialogue import delivery, opened
from tests.unit.test_prepare_message import HEAD, prepare
from tests.unit.test_queue_store import message
from tests.unit.test_queue_store import opened as store_opened

SOURCES = Path(__file__).parents[2] / "relay"
SMUGGLED = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n.\r\n"


@pytest.mark.parametrize(("cve", "end"), [
    ("CVE-2023-51764", b"\n.\r\n"),  # Postfix < 3.5.23, 3.6.13, 3.7.9, 3.8.4: LF.CRLF ended the message
    ("CVE-2023-51765", b"\n.\n"),  # sendmail < 8.18.0.2
    ("CVE-2023-51766", b"\r\n.\n"),  # Exim < 4.97.1
    ("CVE-2024-27305", b"\n.\r\n"),  # aiosmtpd < 1.4.5, on which our listener is built
    ("CVE-2024-27938", b"\n.\n"),  # Postal < 3.0.0
])  # fmt: skip
def test_smuggling(cve: str, end: bytes) -> None:
    """An end of data that only some take for one: the message is refused whole, and nothing follows out of it."""

    async def run() -> None:
        async with stage() as one:
            peer = await one.connect()
            await peer.greet()
            for command in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA"):
                await peer.ask(command)
            peer.send(b"Subject: good\r\n\r\ngood" + end + SMUGGLED)
            assert (await peer.reply())[0].startswith("550 5.6.0"), cve
            assert await peer.ask("NOOP") == "250 2.0.0 Ok"
            assert one.mail == []
            await peer.close()

    asyncio.run(run())


def test_cve_2024_34083_commands_before_tls_do_not_count_inside() -> None:
    """aiosmtpd < 1.4.6 kept what a man in the middle had sent behind STARTTLS and ran it inside TLS."""

    async def run() -> None:
        async with stage(tls="starttls") as one:
            peer = await one.connect()
            await peer.greet()
            peer.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<v@example.net>\r\n")
            await peer.reply()
            await peer.starttls(client_context())
            assert (await peer.ask("DATA")).startswith("503")
            assert (await peer.ask("NOOP")).startswith("250"), "no reply of before may be left over"
            await peer.close()

    asyncio.run(run())


def test_cve_2025_26794_an_address_is_data_and_never_sql(tmp_path: Path) -> None:
    """Exim 4.98 wrote what a client sent into the SQL of its SQLite hints; `"x'--"@d` closed the string."""
    evil = ["\"x'--\"@d", "\"x');drop table recipients;--\"@d", "x'/**/or/**/1=1@d", '"%_*?["@d']

    async def run() -> None:
        async with store_opened(tmp_path) as store:
            for number, address in enumerate(evil):
                await store.put(message(f"m{number}", address, sender=address, tags={"x'--": "a';--"}))
            await store.put(message("other", "innocent@example.net"))
            for number, address in enumerate(evil):
                for which in (Filter(recipient=address), Filter(sender=address)):
                    rows = await store.find(which, 10)
                    assert {row.message for row in rows} <= {f"m{number}"}, (address, rows)
                loaded = await store.load(f"m{number}")
                assert loaded is not None
                assert loaded.message.envelope.recipients[0].address == address
            for text in ["' or 1=1 --", "'; drop table messages; --"]:
                for name in ("message", "stream", "domain", "sender", "recipient", "credential"):
                    assert await store.find(Filter(**{name: text}), 10) == []
                    assert await store.cancel(Filter(**{name: text})) == []
                assert await store.find(Filter(tag=(text, text)), 10) == []
            assert len(await store.find(Filter(), 100)) == len(evil) + 1
            await store.hold(Filter(stream="transactional"), "'; --")
            assert len(await store.find(Filter(state="held"), 100)) == len(evil) + 1

    asyncio.run(run())


@pytest.mark.parametrize("line", [b"550 5.7.2\r\n", b"550 5.7.2 \r\n", b"550-5.7.2\r\n550 5.7.2\r\n", b"250 2.0.0\r\n"])
def test_cve_2026_43964_an_enhanced_code_without_text(line: bytes) -> None:
    """Postfix < 3.8.16, 3.9.10, 3.10.9 read past the end of a status that ends after its third number."""
    for cut in range(len(line)):
        reader = ReplyReader()
        (answer,) = reader.feed(line[:cut]) + reader.feed(line[cut:])
        assert reader.trouble == ""
        assert answer.enhanced in {"5.7.2", "2.0.0"}
        assert not answer.text.strip()
    talk = opened()
    talk.begin(delivery("m1"))
    happened = talk.receive(b"250 2.1.0\r\n" + (line if line.startswith(b"550") else b"250 2.1.5\r\n") + b"354\r\n")
    happened += talk.lost()
    assert [one.token for one in happened if isinstance(one, Result)] == ["m1"]


@pytest.mark.parametrize("command", ["BDAT 1000 LAST", "DATA"])
def test_cve_2026_45185_close_notify_in_the_middle_of_a_body(command: str) -> None:
    """Exim < 4.99.3 with GnuTLS used freed memory when a client ended TLS within BDAT and sent a byte in clear."""

    async def run() -> None:
        async with stage(tls="starttls") as one:
            peer = await one.connect()
            await peer.greet()
            await peer.ask("STARTTLS")
            plug = socket.socket(fileno=os.dup(peer.writer.get_extra_info("socket").fileno()))
            await peer.starttls(client_context())
            await peer.greet_again()
            await peer.ask("MAIL FROM:<a@example.com>")
            await peer.ask("RCPT TO:<b@example.net>")
            peer.send(command.encode() + b"\r\nhalf a body")
            await peer.writer.drain()
            await until(lambda: any(session.receiving for session in one.reception.sessions) or command != "DATA")
            tls = peer.writer.transport
            tls.close()  # sends close_notify
            await asyncio.sleep(0)
            with contextlib.suppress(OSError):
                plug.send(b"X")
            plug.close()
            await until(lambda: not one.reception.sessions)
            assert one.mail == []
            await peer.close()
            after = await one.connect()
            await after.greet()
            assert (await after.ask("NOOP")).startswith("250")
            await after.close()

    asyncio.run(run())


@pytest.mark.parametrize("value", ["a\nX-Evil: 1", "a\rX-Evil: 1", "a\r\nX-Evil: 1", "a\r\n\r\nevil", "a\n\nevil"])
def test_cve_2024_6923_and_2026_1299_a_newline_in_a_header_value_makes_no_header(value: str) -> None:
    """CPython's email generators wrote a header's newlines as they were. What we make are new_field's lines."""
    field = new_field("Subject", value)
    assert Headers.parse(field).names() == {"subject"}
    assert field.count(b"\n") == 1


def test_cve_2024_6923_and_2026_1299_no_message_of_a_client_goes_through_the_email_package() -> None:
    """Only the two commands that write a mail of their own make one there; the listener's side must not."""
    users = set()
    for path in SOURCES.rglob("*.py"):
        if re.search(r"^\s*(?:from|import) email(?:\.policy|\.generator|$)", path.read_text(), re.MULTILINE):
            users.add(str(path.relative_to(SOURCES)))
    assert users == {"cli/send.py", "cli/sendmail.py"}
    result = prepare(HEAD + b"Content-Disposition: attachment; filename=\"a\r\n X-Evil: 1\"\r\n\r\n")
    assert "x-evil" not in Headers.parse(result.header).names()


def test_cve_2023_29483_dnspython_waits_for_the_right_answer() -> None:
    """dnspython < 2.6.1 gave up a query when a forged packet came first ("TuDoor"): a stranger could stop our mail."""
    assert tuple(int(part) for part in version("dnspython").split(".")[:2]) >= (2, 7)
    declared = (SOURCES.parent / "pyproject.toml").read_text()
    assert '"dnspython>=2.7"' in declared


def test_aiosmtpd_is_the_one_whose_holes_are_closed() -> None:
    """CVE-2024-27305 and CVE-2024-34083 are closed in 1.4.6."""
    assert version("aiosmtpd") == "1.4.6"
