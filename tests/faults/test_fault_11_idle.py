"""Thousands of clients that connect, say EHLO and then nothing: memory stays bounded, and mail still passes."""

import resource
import socket
import time

import pytest

from tests.faults.form import rounds, within
from tests.faults.load import message
from tests.faults.machine import cpu_s, resident_mb

pytestmark = pytest.mark.peers
CLIENTS = rounds(1000, 10_000)
MOST_MB, MOST_CLIENTS = 600, 10_000


@pytest.mark.timeout(200)
def test_idle_clients(relay, receive, note):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < CLIENTS + 500:
        pytest.skip(f"only {hard} file descriptors")
    server = receive(10)
    one = relay(listener={"max_connections": 20_000, "max_connections_per_client": 20_000})
    pid = one.program.process.pid
    with one.smtp() as smtp:
        smtp.noop()
    before, idle = resident_mb(pid), []
    try:
        for _ in range(CLIENTS):
            client = socket.create_connection(("127.0.0.1", one.smtp_port), timeout=10)
            idle.append(client)
            client.sendall(b"EHLO idle.shop.test\r\n")
        for client in idle:
            while b"ENHANCEDSTATUSCODES" not in client.recv(4096):
                pass
        full = resident_mb(pid)
        begun = time.monotonic()
        one.send("shop@shop.test", "you@r10.receivers.test", message("otp.1", 1000))
        server.wait_accepted()
        served_s = time.monotonic() - begun
        used, begun = cpu_s(pid), time.monotonic()
        time.sleep(1.0)  # at rest
        share = (cpu_s(pid) - used) / (time.monotonic() - begun)
    finally:
        for client in idle:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    each_kb = (full - before) / CLIENTS * 1024
    note(f"11 idle connections: {CLIENTS}", rounds=1, accepted=1, lost=0, twice=0, again_s=f"{served_s:.2f}",
         more=f"{before:.0f} MB, with them {full:.0f} MB: {each_kb:.1f} KB each; {share:.0%} of a CPU at rest")
    assert before + each_kb * MOST_CLIENTS / 1024 < MOST_MB
    assert served_s < within(2)
    assert share < 0.3
