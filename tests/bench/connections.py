"""What a connection costs: accept, greeting, EHLO, QUIT, close, without a message, in the CPU time of the process that
answers; beside a protocol that says the same from constants, which is what the kernel and the event loop take.

    python -m tests.bench.connections [--rounds 25] [--connections 400]
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import subprocess
import sys
from pathlib import Path

import uvloop

from relay.core.envelope import Submission
from relay.core.reply import Reply, reply
from relay.inbound.access import Access
from relay.inbound.listener import Listener, bind
from relay.inbound.reception import MemoryBudget, Reception
from relay.inbound.settings import ListenerSettings, networks

KINDS = ("listener", "constants")
HOST = "127.0.0.1"


class Constants(asyncio.Protocol):
    """Answers anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(b"220 relay.example\r\n")

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"250 relay.example\r\n")
        if data.startswith(b"QUIT"):
            self.transport.close()


async def serve(kind: str) -> None:
    """Prints its port and answers until it is killed."""
    if kind == "constants":
        server = await asyncio.get_running_loop().create_server(Constants, HOST, 0)
        print(server.sockets[0].getsockname()[1], flush=True)
    else:
        settings = ListenerSettings("apps", "relay.example", networks=networks(["127.0.0.0/8"]))
        listener = Listener(Reception(settings, Access(), _nothing, budget=MemoryBudget(1)), bind([f"{HOST}:0"]))
        await listener.start()
        print(listener.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def _nothing(submission: Submission) -> Reply:
    return reply(451, "4.3.0", "no mail here")


def knock(port: int) -> None:
    """One connection from its first to its last byte."""
    with socket.create_connection((HOST, port)) as client:
        for words in (b"EHLO app.example.com\r\n", b"QUIT\r\n"):
            client.recv(4096)
            client.sendall(words)
        while client.recv(4096):
            pass


def cpu_us(pid: int) -> float:
    """What the process has used, to the nanosecond (proc(5), schedstat)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--connections", type=int, default=400)
    parser.add_argument("--serve", choices=KINDS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve))
    command = [sys.executable, "-m", "tests.bench.connections", "--serve"]
    servers = {kind: subprocess.Popen([*command, kind], stdout=subprocess.PIPE, text=True) for kind in KINDS}
    try:
        ports = {kind: int(one.stdout.readline()) for kind, one in servers.items() if one.stdout}
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind, one in servers.items():
                before = cpu_us(one.pid)
                for _ in range(options.connections):
                    knock(ports[kind])
                found[kind].append((cpu_us(one.pid) - before) / options.connections)
        for kind, each in found.items():
            print(f"{kind}: {statistics.median(each):.0f} µs a connection (least {min(each):.0f})")
    finally:
        for one in servers.values():
            one.kill()
            one.wait()


if __name__ == "__main__":
    main()
