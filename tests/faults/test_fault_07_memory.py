"""Memory: fifty clients hand in large messages at once. They stream through to disk and out again; where memory is
short the answer is 4xx, never the end of the process."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.faults.form import rounds
from tests.faults.load import LINE, SENDER, YOU
from tests.faults.machine import resident_mb
from tests.peers.place import Program, free_port, need

pytestmark = pytest.mark.peers
CLIENTS, MB = 50, 1 << 20
SIZE = rounds(2, 25) * MB
LIMIT, MOST_MB = 256 * MB, 300
SMALL = 40_000  # held in memory as a whole, also while that is short
GROUP = Path("/sys/fs/cgroup/memory")  # cgroup version 1; version 2 has one tree for all


def hand_in(port, size):
    """(how many were taken, what the others were told); nobody ends before all are in the middle of it."""
    chunk = LINE * (min(size, 65_536) // len(LINE))

    async def one(middle):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for line in ("", "HELO app", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{YOU}>", "DATA"):
                if line:
                    writer.write(f"{line}\r\n".encode())
                said = await reader.readline()
                if said[:1] not in b"23":
                    return said.decode().strip()
            writer.write(b"From: shop@shop.test\r\n\r\n")
            for _ in range(size // len(chunk)):
                writer.write(chunk)
                await writer.drain()
            await middle.wait()
            writer.write(b".\r\n")
            said = await reader.readline()
            return "" if said.startswith(b"250") else said.decode().strip()
        except OSError as error:
            return str(error)
        finally:
            writer.close()

    async def all_at_once():
        middle = asyncio.Barrier(CLIENTS)
        async with asyncio.timeout(150):
            return await asyncio.gather(*(one(middle) for _ in range(CLIENTS)))

    said = asyncio.run(all_at_once())
    return said.count(""), sorted({words for words in said if words})


@pytest.fixture
def through(relay, place):
    """A relay that sends all to a sink that throws it away."""
    need("smtp-sink")
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = ["/usr/sbin/smtp-sink", *user, "-m", "500", f"127.0.0.1:{port}", "500"]
    sink = Program(command, place.room("sink") / "log")
    delivery = {"mode": "smarthost", "host": f"127.0.0.1:{port}", "tls": "never"}
    yield relay(delivery=delivery, config={"memory_budget": 64 * MB})
    sink.stop()


@pytest.fixture
def limited():
    """Puts a process and its page cache under a limit where the machine lets us; gives back how it is limited."""
    group = None

    def put(pid):
        nonlocal group
        made = GROUP / f"relay-{os.getpid()}"
        try:
            made.mkdir()
            group = made
            (made / "memory.limit_in_bytes").write_text(str(LIMIT))
            (made / "cgroup.procs").write_text(str(pid))
        except OSError:
            return "measured only: no control group to be had"
        return "in a control group of 256 MB"

    yield put
    if group is not None:
        for pid in (group / "cgroup.procs").read_text().split():
            (GROUP / "cgroup.procs").write_text(pid)
        group.rmdir()


@pytest.mark.timeout(300)
def test_large_messages_stream(through, note, limited):
    pid = through.program.process.pid
    how = limited(pid)
    taken, said = hand_in(through.smtp_port, SIZE)
    through.idle(120)
    peak = resident_mb(pid, peak=True)
    note(f"7 memory: {CLIENTS} clients with {SIZE // MB} MB", rounds=1, accepted=taken,
         lost=taken - round(through.total("relay_recipients_total", 'outcome="delivered"')),
         more=f"at most {peak:.0f} MB, {how}; refused {CLIENTS - taken} {said}")  # fmt: skip
    assert taken == through.total("relay_recipients_total", 'outcome="delivered"')
    assert taken > 0
    assert all(words.startswith("4") for words in said)
    assert peak < MOST_MB


def test_a_small_budget_says_4xx(relay, receive, note):
    """Not even the beginnings of all messages fit: those that find no room are told so, and the relay lives."""
    receive(10)
    one = relay(config={"memory_budget": MB})
    taken, said = hand_in(one.smtp_port, SMALL)
    note("7 memory: a budget of 1 MB", rounds=1, accepted=taken, more=f"refused {CLIENTS - taken} {said}")
    assert all(words.startswith("452 4.3.1") for words in said)
    assert 0 < taken <= MB // SMALL + 1
    assert one.ready()
