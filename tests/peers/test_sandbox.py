"""The sandbox takes whatever is delivered to it, keeps the last of it, and tells what it knows."""

import asyncio
import smtplib
import socket
from contextlib import suppress

import pytest

from relay.core.ids import message_id
from relay.deliver.sandbox import Sandbox

ID = message_id(1_700_000_000.0, b"abcdef")
MAIL = (
    f"Received: from app (app [192.0.2.1])\r\n\tby relay.example.com with ESMTP id {ID}\r\n"
    "\tfor <you@example.com>; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
    "From: shop@example.com\r\nSubject: =?utf-8?q?Ihre_Bestellung_=E2=9C=93?=\r\n\r\n.Hello\r\n..\r\n"
).encode()


@pytest.fixture
def scenario(tmp_path):
    """Runs `client(port)` in a thread against a sandbox, then `look(sandbox)` in its loop."""

    def run(client, look, **settings):
        async def whole():
            sandbox = Sandbox(tmp_path, **{"clock": lambda: 1_700_000_002.5, **settings})
            port = await sandbox.start()
            try:
                sent = await asyncio.to_thread(client, port)
                return sent, await look(sandbox)
            finally:
                await sandbox.close()

        return asyncio.run(whole())

    return run


def send(*messages, sender="shop@example.com", recipients=("you@example.com",)):
    def client(port):
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as smtp:
            for message in messages:
                smtp.sendmail(sender, recipients, message)

    return client


def raw(*lines):
    """Sends the lines at once and returns all that comes back."""

    def client(port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            got = b""
            with suppress(ConnectionError):
                connection.sendall(b"".join(lines))
                connection.shutdown(socket.SHUT_WR)
                while chunk := connection.recv(65536):
                    got += chunk
            return got

    return client


async def newest(sandbox):
    return sandbox.list()[0]


async def everything(sandbox):
    return [await sandbox.show(one.id) for one in sandbox.list()]


def test_a_message_is_kept_as_it_came(scenario):
    async def look(sandbox):
        return sandbox.list()[0], await sandbox.show(ID)

    _, (listed, shown) = scenario(send(MAIL, recipients=["a@example.com", "b@example.com"]), look)
    assert shown.message == listed
    assert shown.source == MAIL
    assert (listed.message, listed.sender, listed.size) == (ID, "shop@example.com", len(MAIL))
    assert listed.recipients == ("a@example.com", "b@example.com")
    assert listed.subject == "Ihre Bestellung ✓"
    assert (listed.stream, listed.delay_s, shown.dkim) == ("", 0.0, ())


@pytest.mark.parametrize("when", ["before", "after"])
def test_stream_and_delay_are_told_by_the_relay(scenario, tmp_path, when):
    async def look(sandbox):
        sandbox.note(ID, "transactional", 1_700_000_001.0)
        if when == "before":
            await asyncio.to_thread(send(MAIL), sandbox_port)
        again = Sandbox(tmp_path)  # what was told survives a restart
        await again.start()
        await again.close()
        return sandbox.list()[0], again.list()[0]

    sandbox_port = 0

    def client(port):
        nonlocal sandbox_port
        sandbox_port = port
        if when == "after":
            send(MAIL)(port)

    _, (now, later) = scenario(client, look)
    assert (now.stream, now.delay_s) == ("transactional", 1.5)
    assert later == now


def test_only_the_last_are_kept(scenario, tmp_path):
    messages = [f"Subject: {n}\r\n\r\nx\r\n" for n in range(7)]
    _, kept = scenario(send(*messages), everything, limit=3)
    assert sorted(one.message.subject for one in kept) == ["4", "5", "6"]
    assert len(list(tmp_path.iterdir())) == 6


def test_the_bytes_kept_are_bounded(scenario, tmp_path):
    _, kept = scenario(send(*["Subject: x\r\n\r\n" + "y" * 1000 + "\r\n"] * 5), everything, max_bytes=2500)
    assert len(kept) == 2


def test_half_written_files_are_removed_and_strangers_ignored(scenario, tmp_path):
    for name in ("a.tmp", "b.eml", "c.json", "d.json.tmp"):
        (tmp_path / name).write_text("{}")
    _, kept = scenario(send(MAIL), everything)
    assert len(kept) == 1
    assert {file.name for file in tmp_path.iterdir()} == {
        "c.json", f"{kept[0].message.id}.json", f"{kept[0].message.id}.eml"
    }


def test_fifty_megabytes_in_one_line_pass(scenario):
    line = b"x" * (50 * 1024 * 1024)
    dialogue = raw(b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n", line, b"\r\n.\r\nQUIT\r\n")
    replies, message = scenario(dialogue, newest)
    assert replies.splitlines()[-2:] == [b"250 2.0.0 kept", b"221 2.0.0 Bye"]
    assert (message.size, message.sender) == (len(line) + 2, "")


def test_a_pipelined_session_is_answered_line_by_line(scenario):
    one = b"MAIL FROM:<a@b> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\nDATA\r\n\xff\r\n.\r\n"
    replies, kept = scenario(raw(b"EHLO x\r\n", one, one, b"RSET\r\nNOOP\r\nQUIT\r\n"), everything)
    codes = [line[:3] for line in replies.splitlines() if line[3:4] == b" "]
    assert codes == [b"220", b"250", *[b"250", b"250", b"354", b"250"] * 2, b"250", b"250", b"221"]
    assert [one.source for one in kept] == [b"\xff\r\n"] * 2


def test_what_is_out_of_order_is_refused(scenario):
    dialogue = raw(b"HELO x\r\nRCPT TO:<a@b>\r\nDATA\r\nVRFY x\r\nMAIL FROM:<a@b>\r\nDATA\r\n")
    replies, kept = scenario(dialogue, everything)
    codes = [line[:3].decode() for line in replies.splitlines()]
    assert codes == ["220", "250", "503", "503", "502", "250", "503"]
    assert kept == []


def test_a_client_that_goes_inside_data_leaves_nothing(scenario, tmp_path):
    dialogue = raw(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nhalf a message\r\n")
    _, kept = scenario(dialogue, everything)
    assert kept == []
    assert list(tmp_path.iterdir()) == []


def test_an_endless_command_ends_the_session(scenario):
    replies, _ = scenario(raw(b"x" * 200_000), everything)
    assert b"250" not in replies


def test_a_failing_disk_is_answered_with_try_again(scenario, tmp_path):
    def client(port):
        tmp_path.rename(tmp_path.with_name("elsewhere"))
        try:
            return raw(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")(port)
        finally:
            tmp_path.with_name("elsewhere").rename(tmp_path)

    replies, kept = scenario(client, everything)
    assert b"452 4.3.1 the sandbox could not keep it: No such file" in replies
    assert replies.endswith(b"221 2.0.0 Bye\r\n")
    assert kept == []


def test_what_is_not_kept_is_not_shown(scenario):
    async def look(sandbox):
        return await sandbox.show("nothing"), await sandbox.dkim("nothing")

    assert scenario(send(MAIL), look)[1] == (None, ())
