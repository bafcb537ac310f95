"""Thousands of clients that connect, say EHLO and then nothing: memory stays bounded, and mail still passes."""

import resource
import socket
import time

import pytest

from tests.faults.form import FRONTS, rounds, within, workers
from tests.faults.load import message
from tests.faults.machine import cpu_s, processes, shared_mb

pytestmark = pytest.mark.peers
CLIENTS = rounds(1000, 10_000)
MOST_MB, MOST_CLIENTS = 600, 10_000
EVEN = 0.8 / FRONTS  # of all clients, at least, at each front


@workers(short=True)
@pytest.mark.timeout(200)
def test_idle_clients(relay, receive, note, workers):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < CLIENTS + 500:
        pytest.skip(f"only {hard} file descriptors")
    server = receive(10)
    one = relay(listener={"max_connections": 20_000, "max_connections_per_client": 20_000}, config={"workers": workers})
    pids = set(processes(one).values())
    with one.smtp() as smtp:
        smtp.noop()
    before, idle = shared_mb(pids), []
    try:
        for _ in range(CLIENTS):
            client = socket.create_connection(("127.0.0.1", one.smtp_port), timeout=10)
            idle.append(client)
            client.sendall(b"EHLO idle.shop.test\r\n")
        for client in idle:
            while b"ENHANCEDSTATUSCODES" not in client.recv(4096):
                pass
        full = shared_mb(pids)
        at = [front["connections"] for front in one.status()["fronts"]]
        begun = time.monotonic()
        one.send("shop@shop.test", "you@r10.receivers.test", message("otp.1", 1000))
        server.wait_accepted()
        served_s = time.monotonic() - begun
        used, begun = sum(map(cpu_s, pids)), time.monotonic()
        time.sleep(1.0)  # at rest
        share = (sum(map(cpu_s, pids)) - used) / (time.monotonic() - begun)
    finally:
        for client in idle:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    each_kb = (full - before) / CLIENTS * 1024
    note(f"11 idle connections: {CLIENTS}", workers=workers, rounds=1, accepted=1, lost=0,
         twice=len(server.accepted) - 1, again_s=f"{served_s:.2f}",
         more=f"{before:.0f} MB, with them {full:.0f} MB: {each_kb:.1f} KB each; "
              f"{share:.0%} of a CPU at rest; at each front {at}")  # fmt: skip
    assert all(count >= EVEN * CLIENTS for count in at)
    assert before + each_kb * MOST_CLIENTS / 1024 < MOST_MB
    assert served_s < within(2)
    assert share < 0.3
