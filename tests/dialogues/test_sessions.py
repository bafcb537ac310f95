"""What text files cannot say: clients that vanish, caps over connections, draining, limits, memory, fuzz."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from pathlib import Path

import pytest

from relay.core.envelope import Submission
from relay.core.reply import Reply, reply
from relay.inbound.listener import bind, inherited, split_address
from tests.dialogues.stage import Peer, Stage, client_context, stage, until

MESSAGE = b"Subject: x\r\n\r\nbody\r\n.\r\n"


async def greeted(one: Stage) -> Peer:
    peer = await one.connect()
    await peer.greet()
    return peer


async def to_data(peer: Peer) -> None:
    for command in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA"):
        assert (await peer.ask(command))[0] in "23"


class Gate:
    """An `accept` that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, submission: Submission) -> Reply | None:
        self.entered.set()
        await self.open.wait()
        return None


@pytest.mark.parametrize("how", ["half-close", "close", "reset"])
def test_a_commit_is_finished_though_the_client_is_gone(how: str) -> None:
    async def run() -> None:
        async with stage() as one:
            gate = Gate()
            one.ears.after = gate
            peer = await greeted(one)
            await to_data(peer)
            peer.send(MESSAGE)
            await gate.entered.wait()
            if how == "half-close":
                peer.writer.write_eof()
            elif how == "close":
                await peer.close()
            else:
                peer.reset()
            await asyncio.sleep(0.05)
            assert one.mail == []
            gate.open.set()
            await until(lambda: one.mail)
            if how == "half-close":
                assert (await peer.reply())[0].startswith("250 2.0.0")
            await peer.close()
            await until(lambda: not one.reception.sessions)

    asyncio.run(run())


def test_closing_the_listener_waits_for_the_commit() -> None:
    async def run() -> None:
        async with stage() as one:
            gate = Gate()
            one.ears.after = gate
            peer = await greeted(one)
            await to_data(peer)
            peer.send(MESSAGE)
            await gate.entered.wait()
            closing = asyncio.ensure_future(one.listener.close())
            await asyncio.sleep(0.05)
            assert not closing.done()
            gate.open.set()
            await asyncio.wait_for(closing, 5)
            assert len(one.mail) == 1
            await peer.close()

    asyncio.run(run())


def test_draining_sends_idle_clients_away_and_lets_data_finish() -> None:
    async def run() -> None:
        async with stage() as one:
            idle, busy = await greeted(one), await greeted(one)
            await to_data(busy)
            busy.send(MESSAGE[:10])
            await until(lambda: any(session.receiving for session in one.reception.sessions))
            draining = asyncio.ensure_future(one.listener.drain(5))
            assert (await idle.reply())[0].startswith("421 4.3.2")
            assert await idle.end() == b""
            port_is_closed = one.listener.addresses == []
            assert port_is_closed
            busy.send(MESSAGE[10:])
            assert (await busy.reply())[0].startswith("250 2.0.0")
            assert (await busy.reply())[0].startswith("421 4.3.2")
            assert await asyncio.wait_for(draining, 5) == 0
            assert len(one.mail) == 1
            await idle.close()
            await busy.close()

    asyncio.run(run())


def test_draining_gives_up_in_time() -> None:
    async def run() -> None:
        async with stage() as one:
            peer = await greeted(one)
            await to_data(peer)
            assert await one.listener.drain(0.1) == 1
            await peer.close()

    asyncio.run(run())


def test_closing_tells_421_in_the_middle_of_a_message_too() -> None:
    async def run() -> None:
        async with stage() as one:
            peer = await greeted(one)
            await to_data(peer)
            peer.send(MESSAGE[:10])
            await until(lambda: one.reception.budget.used)  # it has read the beginning
            await asyncio.wait_for(one.listener.close(), 5)
            assert (await peer.reply())[0].startswith("421 4.3.2")
            assert await peer.end() == b""
            assert one.mail == []
            await peer.close()

    asyncio.run(run())


def test_closing_answers_what_is_being_stored_before_it_goes() -> None:
    async def run() -> None:
        async with stage() as one:
            gate = Gate()
            one.ears.after = gate
            peer = await greeted(one)
            await to_data(peer)
            peer.send(MESSAGE)
            await gate.entered.wait()
            closing = asyncio.ensure_future(one.listener.close())
            await asyncio.sleep(0.05)
            gate.open.set()
            assert (await peer.reply())[0].startswith("250 2.0.0")
            assert (await peer.reply())[0].startswith("421 4.3.2")
            await asyncio.wait_for(closing, 5)
            await peer.close()

    asyncio.run(run())


def test_pause_and_start_lose_no_connection() -> None:
    async def run() -> None:
        async with stage() as one:
            one.listener.pause()
            waiting = await one.connect()  # the kernel queues it
            await asyncio.sleep(0.05)
            assert not one.reception.sessions
            await one.listener.start()
            assert (await waiting.reply())[0].startswith("220")
            await waiting.close()

    asyncio.run(run())


def test_connections_are_capped_in_all_and_by_client() -> None:
    async def run() -> None:
        async with stage(max_connections=5, max_connections_per_client=2) as one:
            peers = [await one.connect() for _ in range(2)]
            for peer in peers:
                assert (await peer.reply())[0].startswith("220")
            third = await one.connect()
            assert (await third.reply())[0].startswith("421 4.7.0")
            assert await third.end() == b""
            await peers[0].ask("QUIT")
            await until(lambda: len(one.reception.sessions) == 1)
            again = await one.connect()
            assert (await again.reply())[0].startswith("220")
            assert one.reasons == ["too-many-from-client"]
            for peer in (*peers, third, again):
                await peer.close()
        async with stage(max_connections=1) as one:
            first, second = await one.connect(), await one.connect()
            assert (await second.reply())[0].startswith("421 4.3.2")
            assert one.reasons == ["too-many-connections"]
            await first.close()
            await second.close()

    asyncio.run(run())


def test_an_endless_line_costs_no_memory_and_ends() -> None:
    async def run() -> None:
        async with stage() as one:
            peer = await greeted(one)
            peer.send(b"MAIL " + b"x" * 3_000_000)
            assert (await peer.reply())[0].startswith("421 4.7.0")
            await peer.end()
            await peer.close()
            assert one.reasons == ["endless-line"]
            peer = await greeted(one)
            peer.send(b"MAIL " + b"x" * 500_000 + b"\r\n")
            assert (await peer.reply())[0].startswith("500 5.5.2")
            assert (await peer.ask("NOOP")).startswith("250")
            await peer.close()

    asyncio.run(run())


def test_auth_takes_the_line_rfc_4954_allows() -> None:
    async def run() -> None:
        async with stage(auth="optional", tls="implicit") as one:
            peer = await one.connect()
            await peer.starttls(client_context())
            await peer.greet()
            assert (await peer.ask("AUTH PLAIN " + "A" * 12_000)).startswith("501 5.5.2")
            assert (await peer.ask("AUTH PLAIN " + "A" * 12_400)).startswith("500 5.5.2")
            assert (await peer.ask("AUTH PLAIN")).startswith("334")
            assert (await peer.ask("A" * 70_000)).startswith("500 5.5.6")
            assert (await peer.ask("AUTH PLAIN")).startswith("334")
            assert (await peer.ask("A" * 12_300)).startswith("500 5.5.6")
            await peer.close()

    asyncio.run(run())


def test_old_sessions_are_asked_to_come_again() -> None:
    async def run() -> None:
        async with stage(session_timeout_s=0.05) as one:
            peer = await greeted(one)
            await to_data(peer)
            await asyncio.sleep(0.1)
            peer.send(MESSAGE)
            assert (await peer.reply())[0].startswith("250 2.0.0")
            assert (await peer.reply())[0].startswith("421 4.3.2")
            await peer.close()

    asyncio.run(run())


def test_a_trickle_is_cut_though_every_block_is_in_time() -> None:
    async def run() -> None:
        async with stage(data_timeout_s=5.0, data_grace_s=0.2, data_min_bytes_per_s=1000.0) as one:
            peer = await greeted(one)
            await to_data(peer)
            for _ in range(40):
                peer.send(b"x\r\n")
                await asyncio.sleep(0.01)
                if one.events:
                    break
            assert one.reasons == ["slow-data"]
            assert b"421 4.4.2" in await peer.end()
            await peer.close()

    asyncio.run(run())


def test_a_steady_upload_outlasts_the_idle_timeout() -> None:
    async def run() -> None:
        async with stage(idle_timeout_s=0.2, data_timeout_s=0.2) as one:
            peer = await greeted(one)
            await to_data(peer)
            for _ in range(10):
                peer.send(b"x" * 70 + b"\r\n")
                await asyncio.sleep(0.05)
            peer.send(b".\r\n")
            assert (await peer.reply())[0].startswith("250")
            await peer.close()

    asyncio.run(run())


def test_a_client_that_never_reads_is_cut_off() -> None:
    async def run() -> None:
        async with stage(idle_timeout_s=0.3, max_idle_commands=10**9) as one:
            peer = await greeted(one)
            peer.writer.transport.pause_reading()
            peer.send(b"HELP\r\n" * 500_000)
            await until(lambda: "idle" in one.reasons)
            peer.reset()
            await until(lambda: not one.reception.sessions)

    asyncio.run(run())


def test_memory_is_bounded_over_all_sessions_and_the_next_one_is_fine() -> None:
    async def run() -> None:
        async with stage(memory=200_000) as one:
            peers = [await greeted(one) for _ in range(3)]
            for peer in peers:
                await to_data(peer)
                peer.send(b"x" * 70 + b"\r\n")
            half = (b"y" * 70 + b"\r\n") * 1400
            for peer in peers:
                peer.send(half)
            await until(lambda: one.reception.budget.used > 90_000)
            for peer in peers:
                peer.send(b".\r\n")
            codes = sorted([(await peer.reply())[0][:9] for peer in peers])
            assert codes[-1] == "452 4.3.1"
            assert "250 2.0.0" in codes or codes.count("452 4.3.1") == 3
            await to_data(peers[0])
            peers[0].send(MESSAGE)
            assert (await peers[0].reply())[0].startswith("250")
            for peer in peers:
                await peer.close()

    asyncio.run(run())


def test_large_bodies_wait_in_the_spool_and_refused_ones_leave_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with stage(spool=tmp_path) as one:
            peer = await greeted(one)
            big = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 300_000 + b".\r\n"
            await to_data(peer)
            peer.send(big)
            assert (await peer.reply())[0].startswith("250")
            assert one.mail[0].content.body.size == 3_600_000
            assert len(list((tmp_path / "tmp").iterdir())) == 1

            async def full(submission: Submission) -> Reply:
                return reply(452, "4.3.1", "full")

            one.ears.after = full
            await to_data(peer)
            peer.send(big)
            assert (await peer.reply())[0].startswith("452")
            await to_data(peer)
            peer.send(big[:2_000_000])
            await until(lambda: len(list((tmp_path / "tmp").iterdir())) == 2)
            peer.reset()
            await until(lambda: not one.reception.sessions)
            await until(lambda: len(list((tmp_path / "tmp").iterdir())) == 1)

    asyncio.run(run())


def test_a_421_of_the_queue_closes() -> None:
    async def run() -> None:
        async with stage() as one:

            async def broken(submission: Submission) -> Reply:
                return reply(421, "4.3.0", "line one\r\n250 injected", "line two")

            one.ears.after = broken
            peer = await greeted(one)
            await to_data(peer)
            peer.send(MESSAGE)
            assert await peer.reply() == ["421-4.3.0 line one??250 injected", "421 4.3.0 line two"]
            assert await peer.end() == b""
            await peer.close()

    asyncio.run(run())


def test_faults_are_logged_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with stage() as one:

            async def broken(submission: Submission) -> Reply:
                raise OSError("/var/lib/relay/queue.db: no space")

            one.ears.after = broken
            peer = await greeted(one)
            await to_data(peer)
            peer.send(MESSAGE)
            assert await peer.reply() == ["451 4.3.0 try again later"]
            one.reception.access.check_sender = None  # type: ignore[method-assign,assignment]
            assert await peer.ask("MAIL FROM:<a@example.com>") == "451 4.3.0 try again later"
            assert (await peer.ask("NOOP")).startswith("250")
            await peer.close()

    asyncio.run(run())
    assert "queue.db" in caplog.text
    assert len([record for record in caplog.records if record.exc_info]) == 2


def test_a_client_with_old_tls_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with stage(tls="starttls") as one:
            peer = await greeted(one)
            await peer.ask("STARTTLS")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await peer.starttls(client_context(old=True))
            await until(lambda: one.reasons == ["tls-failed"])
            await peer.close()
            await until(lambda: not one.reception.sessions)

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert "listen with profile: legacy on a port of its own" in caplog.text


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_clear_text_where_tls_should_be(tls: str, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with stage(tls=tls) as one:
            peer = await one.connect()
            if tls == "starttls":
                await peer.greet()
                await peer.ask("STARTTLS")
            peer.send(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n")
            await peer.end()
            await until(lambda: one.reasons == ["tls-failed"])
            await peer.close()

    asyncio.run(run())
    assert "TLS" in caplog.text


def test_a_handshake_that_never_comes_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with stage(tls="implicit", tls_handshake_s=0.1) as one:
            peer = await one.connect()
            assert await peer.end() == b""
            await until(lambda: one.reasons == ["tls-failed"])
            await peer.close()

    asyncio.run(run())
    assert "never finished" in caplog.text


def test_sessions_keep_the_settings_they_began_with() -> None:
    async def run() -> None:
        async with stage() as one:
            old = await greeted(one)
            one.listener.reload(type(one.reception.settings)("apps", "new.test"), None)
            new = await one.connect()
            assert (await new.reply())[0] == "220 new.test ESMTP"
            assert (await old.ask("MAIL FROM:<a@example.com>")).startswith("250")
            assert (await old.ask("RCPT TO:<b@example.net>")).startswith("250")
            await new.ask("EHLO x")
            await new.ask("MAIL FROM:<a@example.com>")
            assert (await new.ask("RCPT TO:<b@example.net>")).startswith("550 5.7.1")
            await old.close()
            await new.close()

    asyncio.run(run())


def test_no_command_line_makes_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Invariant: every line gets one reply with an enhanced code, and none is a 451."""
    dice = random.Random(20_261_121)
    verbs = [
        "EHLO",
        "HELO",
        "MAIL FROM:",
        "RCPT TO:",
        "RSET",
        "NOOP",
        "AUTH PLAIN",
        "STARTTLS",
        "VRFY",
        "HELP",
        "XYZ",
    ]
    parts = [
        "<a@b>",
        "<>",
        "<",
        ">",
        "@",
        "SIZE=",
        "SIZE=1",
        "NOTIFY=",
        "ORCPT=",
        "SMTPUTF8",
        "=",
        ":",
        ";",
        "[",
        "[IPv6:",
        "%",
        "{",
        "{x}",
        "%s",
    ]
    words = [*verbs, *parts, "\0", "\r", "ü", "\udcff", " ", '"', "\\", "x" * 600]

    async def run() -> None:
        patient = {"max_errors": 10**9, "max_idle_commands": 10**9}
        async with stage(auth="optional", auth_clear=True, **patient) as one:
            peer = await greeted(one)
            for _ in range(3000):
                line = " ".join(dice.choices(words, k=dice.randint(1, 6)))
                data = line.encode("utf-8", "surrogateescape") + b"\r\n"
                peer.send(data)
                answer = (await peer.reply())[-1]
                if answer.startswith("334"):
                    answer = await peer.ask("*")
                assert answer[:3] not in {"451", "421"}, (line, answer)
                assert answer[4:].split(".")[0] == answer[0] or answer.startswith("250 "), (line, answer)
            await peer.close()

    asyncio.run(run())
    assert not [record for record in caplog.records if record.exc_info]


def test_random_bytes_make_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(7)

    async def run() -> None:
        async with stage(max_errors=10**9, max_idle_commands=10**9) as one:
            for _ in range(30):
                peer = await one.connect()
                peer.send(dice.randbytes(dice.randint(1, 5000)))
                peer.writer.write_eof()
                await peer.end()
                await peer.close()

    asyncio.run(run())
    assert not [record for record in caplog.records if record.exc_info]


def test_addresses_to_bind() -> None:
    assert split_address("0.0.0.0:25") == ("0.0.0.0", 25)
    assert split_address("[::1]:25") == ("::1", 25)
    assert split_address(":25") == ("", 25)
    for text in ("25", "host:", "host:x", "::1:25", "host:70000"):
        with pytest.raises(ValueError, match=r"host:port|brackets"):
            split_address(text)


def test_a_taken_port_leaves_nothing_bound() -> None:
    taken = bind(["127.0.0.1:0"])[0]
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        bind(["127.0.0.1:0", f"127.0.0.1:{port}"])
    taken.close()


def test_a_socket_may_be_inherited() -> None:
    given = socket.create_server(("127.0.0.1", 0))
    port = given.getsockname()[1]
    taken = inherited(given.detach())
    assert taken.getsockname()[1] == port
    taken.close()


def test_both_families() -> None:
    async def run() -> None:
        async with stage() as one:
            one.listener.pause()
            for plug in one.listener.sockets:
                plug.close()
            one.listener.sockets = bind(["[::1]:0", "127.0.0.1:0"])
            await one.listener.start()
            for host, port in one.listener.addresses:
                reader, writer = await asyncio.open_connection(host, port)
                peer = Peer(reader, writer)
                await peer.greet()
                await to_data(peer)
                peer.send(MESSAGE)
                assert (await peer.reply())[0].startswith("250")
                await peer.close()
            assert [mail.client.address for mail in one.mail] == ["::1", "127.0.0.1"]

    asyncio.run(run())


def test_a_client_that_distrusts_the_certificate_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with stage(tls="starttls") as one:
            peer = await greeted(one)
            await peer.ask("STARTTLS")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await peer.starttls(ssl.create_default_context())
            await peer.close()
            await until(lambda: not one.reception.sessions)

    asyncio.run(run())
    assert "does not trust our certificate" in caplog.text


def test_a_credential_taken_away_ends_its_sessions_at_the_next_message() -> None:
    async def run() -> None:
        async with stage(auth="required", auth_clear=True) as one:
            peer = await greeted(one)
            assert (await peer.ask("AUTH PLAIN AHByaW50ZXIAaW5r")).startswith("235")
            assert (await peer.ask("MAIL FROM:<>")).startswith("250")
            await peer.ask("RSET")
            one.reception.access.replace({}, {})
            assert (await peer.ask("MAIL FROM:<>")).startswith("421 4.7.0")
            assert await peer.end() == b""
            await peer.close()

    asyncio.run(run())


def test_draining_sends_away_who_is_asked_for_a_password() -> None:
    async def run() -> None:
        async with stage(auth="required", auth_clear=True) as one:
            peer = await greeted(one)
            assert (await peer.ask("AUTH LOGIN")).startswith("334")
            assert await one.listener.drain(5) == 0
            assert (await peer.reply())[0].startswith("421 4.3.2")
            await peer.close()

    asyncio.run(run())


def test_thousands_of_commands_in_one_packet_leave_room_for_others() -> None:
    async def run() -> None:
        async with stage(max_idle_commands=10**9) as one:
            loud, quiet = await greeted(one), await greeted(one)
            loud.send(b"NOOP\r\n" * 20_000)
            answered = asyncio.ensure_future(quiet.ask("NOOP"))
            for _ in range(20_000):
                assert await loud.line() == "250 2.0.0 Ok"
            assert await answered == "250 2.0.0 Ok"
            await loud.close()
            await quiet.close()

    asyncio.run(run())


def test_a_full_implicit_listener_says_nothing_in_clear() -> None:
    async def run() -> None:
        async with stage(tls="implicit", max_connections=0) as one:
            peer = await one.connect()
            assert await peer.end() == b""
            assert one.reasons == ["too-many-connections"]
            await peer.close()

    asyncio.run(run())


def test_a_draining_listener_refuses_who_slipped_in() -> None:
    async def run() -> None:
        async with stage() as one:
            one.reception.draining = True
            peer = await one.connect()
            assert (await peer.reply())[0].startswith("421 4.3.2")
            await peer.close()

    asyncio.run(run())


def test_a_last_reply_that_is_never_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.inbound.connection.CLOSE_S", 0.1)

    async def run() -> None:
        async with stage(idle_timeout_s=0.1, max_idle_commands=10**9) as one:
            peer = await greeted(one)
            peer.writer.transport.pause_reading()
            peer.send(b"HELP\r\n" * 500_000)
            await until(lambda: not one.reception.sessions)
            await peer.close()

    asyncio.run(run())
