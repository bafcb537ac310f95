"""File descriptors run out: too many clients are sent away without the relay spinning, those who are in are
served, deliveries have the descriptors they need, and when clients leave others are let in again."""

import socket
import time
from contextlib import ExitStack

import pytest

from tests.faults.load import LARGE, message, numbers
from tests.faults.machine import cpu_s
from tests.peers.place import wait_for
from tests.peers.relay import submit

pytestmark = pytest.mark.peers
LIMIT, OUT, HOLD = 200, 8, 600


def greeting(one):
    """(the socket, what it was told) of a new client."""
    client = socket.create_connection(("127.0.0.1", one.smtp_port), timeout=5)
    try:
        return client, client.recv(200)
    except OSError:
        return client, b""


def test_out_of_descriptors(relay, receive, note):
    server = receive(10)
    one = relay(listener={"max_connections_per_client": 1000}, delivery={"connections": OUT},
                provider={"connections": OUT}, started=False)  # fmt: skip
    one.command = ["prlimit", f"--nofile={LIMIT}", *one.command]
    one.start()
    pid, answered = one.program.process.pid, []
    with ExitStack() as stack:
        inside = stack.enter_context(one.smtp())
        inside.ehlo()
        said = []
        for _ in range(HOLD):
            client, words = greeting(one)
            stack.callback(client.close)
            said.append(words[:3])
        begun, used = time.monotonic(), cpu_s(pid)
        for number in range(10):
            text = message(f"d.{number}", LARGE if number % 5 == 4 else 2000)
            answered.append((f"d.{number}", submit(inside, "shop@shop.test", "you@r10.receivers.test", text)))
        server.wait_accepted(10)
        time.sleep(max(0.0, 2.0 - (time.monotonic() - begun)))  # what is measured is a time of rest
        share = (cpu_s(pid) - used) / (time.monotonic() - begun)
        inside.quit()
    begun = time.monotonic()

    def in_again():
        client, words = greeting(one)
        client.close()
        return words.startswith(b"220")

    wait_for(in_again, "clients are let in again", 5)
    again_s = time.monotonic() - begun
    one.idle()
    got = numbers(server.accepted)
    lost = len({number for number, _ in answered} - set(got))
    note(f"6 descriptors: {HOLD} clients for {LIMIT}", rounds=1, accepted=len(answered), lost=lost,
         twice=len(got) - len(set(got)), again_s=f"{again_s:.2f}",
         more=f"{said.count(b'220')} let in, {said.count(b'421')} told 421; {share:.0%} of a CPU")
    assert lost == 0
    assert said.count(b"220") >= LIMIT // 3
    assert said.count(b"421") >= 1
    assert share < 0.5
