"""A relay with a million recipients in its queue: how soon it starts, what it weighs, what it delivers.

    python tests/bench/million.py                       a million of 1 to 7 KiB, some 5 GB on disk; ten minutes
    python tests/bench/million.py --count 50000 --drain all

1. The queue file is made by the store's own statements, without syncing.
2. All of it is due tomorrow: seconds from the start of the process to the first 250 and to the first delivery of
   new mail; messages a second of new mail, beside a relay whose queue is empty, in turns.
3. All of it is due now: seconds to the first delivery of it, resident memory while it drains, messages a second.
4. With `--drain all` it is drained to the end: what the file weighs then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))  # `python tests/bench/million.py` from anywhere

from relay.cli.machine import Trouble, describe
from relay.cli.traffic import Client, message
from relay.core.content import Content, MemoryBody
from relay.core.envelope import Envelope, Recipient
from relay.core.ids import message_id
from relay.core.message import Prepared
from relay.queue import stock
from relay.queue.opening import open_writer
from relay.queue.spool import Spool
from relay.queue.writing import Group, write_group
from tests.bench.crowded import launch, prepare_relay
from tests.bench.servers import Server
from tests.bench.source import Campaign, send
from tests.internet.behaviour import Provider
from tests.internet.internet import Internet
from tests.peers.place import Place

GROUP = 2000  # messages a transaction
DOMAINS_EACH, PROVIDERS = 100, 10
SIZES = (1024, 7168)
DAY_S = 86_400.0
PATIENCE_S = 300.0
QUOTA = "messages: 500000"  # of the shipped policies: a million would be past it
GIVE_BACK_S = 20.0  # after the last delivery
HEADER = b"From: <news@example.com>\r\nTo: <%s>\r\nSubject: news %d\r\nList-Unsubscribe: <mailto:u@example.com>\r\n"
GOALS = {"accepting_s": 5.0, "first_delivery_s": 30.0, "rss_mb": 300.0, "disk_ratio": 1.3, "kept": 0.8}


def providers() -> list[Provider]:
    """A thousand domains at ten providers that are quick."""
    return [Provider(f"many{nth}", tuple(f"d{nth}x{number}.test" for number in range(DOMAINS_EACH)))
            for nth in range(PROVIDERS)]  # fmt: skip


def messages(count: int, now: float) -> Iterator[Prepared]:
    """Newsletters of a day, each to one recipient; their sizes are spread evenly over SIZES."""
    dice = random.Random(1)
    domains = [domain for provider in providers() for domain in provider.domains]
    body = (b"x" * 70 + b"\r\n") * (SIZES[1] // 72)
    for number in range(count):
        to = f"old{number}@{domains[number % len(domains)]}"
        at = now - DAY_S / 4 + number * (DAY_S / 4 / count)
        yield Prepared(
            message_id(at, dice.randbytes(6)), at, at, Envelope("news@example.com", (Recipient(to),)),
            "news@example.com", "marketing", "marketing", "newsletters", client="127.0.0.1",
            content=Content(HEADER % (to.encode(), number), MemoryBody(body[: dice.randint(*SIZES)] + b"\r\n")),
        )  # fmt: skip


def make(folder: Path, count: int) -> int:
    """Writes the queue file; returns the bytes of the messages in it."""
    folder.mkdir(parents=True, exist_ok=True)
    connection, spool = open_writer(folder / "queue.db"), Spool(folder / "spool")
    connection.execute("PRAGMA synchronous=OFF")  # a crash of the benchmark loses nothing worth keeping
    stock.load(connection)  # as a relay that starts on the new file: what comes later is counted beside it
    now, size, group = time.time(), 0, Group()
    for one in messages(count, now):
        size += one.content.size
        group.puts.append(one)
        if len(group.puts) == GROUP:
            write_group(connection, spool=spool, group=group)
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            group = Group()
    write_group(connection, spool=spool, group=group)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return size


def make_due(folder: Path, due: float) -> None:
    """All of it is due then."""
    connection = sqlite3.connect(folder / "queue.db", isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("UPDATE recipient SET due_at = ?", (due,))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def disk_bytes(folder: Path) -> int:
    """What the queue file and its log take."""
    return sum(file.stat().st_blocks * 512 for file in folder.glob("queue.db*"))


@dataclass(slots=True)
class Bench:
    """Folders, the model Internet, and what was found."""

    home: Path
    internet: Internet
    found: dict[str, float]

    def note(self, name: str, value: float, unit: str = "") -> None:
        """Keeps a figure and prints it with its goal."""
        self.found[name] = round(value, 3)
        goal = GOALS.get(name)
        print(f"{name:24} {value:12.2f} {unit}{f'   (goal {goal:g})' if goal else ''}", flush=True)

    def start(self, relay: str, stack: ExitStack) -> tuple[Server, float]:
        """A relay, and how many seconds after its start a client read 250."""
        begun = time.monotonic()
        server = launch(self.home / relay, stack)
        asyncio.run(_one(server.port))
        return server, time.monotonic() - begun

    def wait_for(self, word: str, count: int, since: float = 0.0, most_s: float = PATIENCE_S) -> float:
        """When that many messages to recipients of this word had come after `since` (time.monotonic())."""
        end = time.monotonic() + most_s
        while time.monotonic() < end:
            times = [one.at for one in self.internet.facts.to(word) if one.at > since]
            if len(times) >= count:
                return times[count - 1]
            time.sleep(0.2)
        raise Trouble(f"{count} messages to {word} did not come in {most_s:.0f} s")


async def _one(port: int) -> None:
    client = await Client.connect(port)
    await client.send("fresh@d0x0.test", message(1, 1024))
    await client.quit()


def rate(bench: Bench, server: Server, count: int, name: str) -> float:
    """Messages a second of new mail, from the first byte to the last message received."""
    domains = [domain for provider in bench.internet.providers[:5] for domain in provider.domains[:4]]
    begun = time.monotonic()
    asyncio.run(send(Campaign(server.port, count, domains, sender="shop@example.com", name=name)))
    return count / (bench.wait_for(name, count) - begun)


def with_all_due_tomorrow(bench: Bench, fresh: int, pairs: int) -> None:
    """Starts, and what new mail meets."""
    with ExitStack() as stack:
        begun = time.monotonic()
        full, accepting_s = bench.start("full", stack)
        bench.note("accepting_s", accepting_s, "s")
        bench.note("new_mail_delivered_s", bench.wait_for("fresh", 1) - begun, "s")
        bench.note("rss_after_start_mb", full.rss_mb(), "MB")
        empty, seconds = bench.start("empty", stack)
        bench.note("accepting_empty_s", seconds, "s")
        found: list[tuple[float, float]] = []
        for nth in range(pairs):
            found.append((rate(bench, full, fresh, f"full{nth}x"), rate(bench, empty, fresh, f"empty{nth}x")))
        bench.note("rate_full", median(full for full, _ in found), "messages a second")
        bench.note("rate_empty", median(empty for _, empty in found), "messages a second")
        bench.note("kept", median(full / empty for full, empty in found), "of it")
        bench.note("rss_after_new_mail_mb", full.rss_mb(), "MB")


def with_all_due_now(bench: Bench, count: int, drain: float | None) -> None:
    """Drains for so many seconds, or to the end."""
    folder = bench.home / "full" / "data"
    with ExitStack() as stack:
        begun, peak = time.monotonic(), 0.0
        full, _ = bench.start("full", stack)
        first = bench.wait_for("old", 1)
        bench.note("first_delivery_s", first - begun, "s")
        before, delivered = first, 0
        while (time.monotonic() < first + drain) if drain is not None else delivered < count:
            peak = max(peak, full.rss_mb())
            delivered = len(bench.internet.facts.to("old"))
            time.sleep(1.0)
        times = [one.at for one in bench.internet.facts.to("old")]
        bench.note("rss_mb", peak, "MB at most while it drains")
        bench.note("drain_rate", len(times) / (times[-1] - before), "messages a second")
        if drain is None:
            time.sleep(GIVE_BACK_S)
            bench.note("disk_after_mb", disk_bytes(folder) / 1e6, "MB")


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="recipients in the queue (default 1000000)")
    parser.add_argument("--fresh", type=int, default=3000, help="new messages in each run (default 3000)")
    parser.add_argument("--pairs", type=int, default=3, help="runs of new mail, with and without (default 3)")
    parser.add_argument("--drain", default="60", help="seconds, or all (default 60)")
    parser.add_argument("--home", default="/var/tmp", help="a folder with room (default /var/tmp)")
    parser.add_argument("--json", metavar="FILE", help="write every figure there too")
    chosen = parser.parse_args(words)
    chosen.drain = None if chosen.drain == "all" else float(chosen.drain)
    return chosen


def measure(chosen: argparse.Namespace, stack: ExitStack) -> dict[str, float]:
    """Every figure by name."""
    home = Path(tempfile.mkdtemp(prefix="relay-million-", dir=chosen.home))
    stack.callback(shutil.rmtree, home, ignore_errors=True)
    place = Place()
    stack.callback(place.close)
    internet = Internet(place, providers())
    stack.callback(internet.stop)
    bench = Bench(home, internet, {})
    for name in ("full", "empty"):
        prepare_relay(home / name, internet)
        streams = home / name / "policies" / "streams.yaml"
        streams.write_text(streams.read_text().replace(QUOTA, "messages: 100000000"))
    begun = time.monotonic()
    size = make(home / "full" / "data", chosen.count)
    disk = disk_bytes(home / "full" / "data")
    print(f"{chosen.count} recipients, {size / 1e6:.0f} MB, made in {time.monotonic() - begun:.0f} s")
    bench.note("disk_ratio", disk / size, "bytes on disk for each byte queued")
    make_due(home / "full" / "data", time.time() + DAY_S)
    with_all_due_tomorrow(bench, chosen.fresh, chosen.pairs)
    make_due(home / "full" / "data", time.time())
    with_all_due_now(bench, chosen.count, chosen.drain)
    return bench.found


def main(words: list[str] | None = None) -> int:
    """0 when it could be measured."""
    chosen = arguments(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # on its way out everything that was started ends
    with ExitStack() as stack:
        try:
            machine = describe(Path(chosen.home))
            found = measure(chosen, stack)
        except Trouble as trouble:
            sys.exit(f"million: {trouble}")
    if chosen.json:
        Path(chosen.json).write_text(json.dumps({"machine": machine, **found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
