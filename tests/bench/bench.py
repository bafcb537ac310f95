"""Measures the relay, beside Postfix with OpenDKIM where they are installed, on the same work in one run.

Every message is signed (RSA-2048) and synced to disk before it is answered 250. For each case the servers take
turns, pair by pair, so that what else the machine does hits both. docs/performance.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # `python tests/bench/bench.py` from anywhere

from relay.cli.machine import Trouble, describe, free_port
from tests.bench import flood
from tests.bench.far import MESSAGES, measure_far
from tests.bench.latency import check_signed, measure_latency
from tests.bench.load import Case, Run, Traffic, choose_traffic, measure
from tests.bench.servers import CONNECTIONS, Server, make_key, start_postfix, start_relay, why_no_postfix
from tests.bench.summary import HEAD, as_json, far_row, latency_row, markdown, medians, ratio_row, ratios, row

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = {
    "4k-kept": Case("4k-kept", size=4096, count=4000, keep=True),
    "4k-new": Case("4k-new", size=4096, count=4000, keep=False),
    "100k-kept": Case("100k-kept", size=102_400, count=500, keep=True),
    "4k-unsigned": Case("4k-unsigned", size=4096, count=4000, keep=True, signed=False),
}
LONGEST_HOME = 107 - len("/relay-bench-xxxxxxxx/unsigned/relay/control.sock")  # unix(7): sun_path
LATENCY, FAR, FLOOD = "latency", "far", "flood"
CODES, WARM_UP = 200, 200


class Stopped(BaseException):
    """Somebody wants it to end: passes everything that handles errors, and stops on its way what was started."""

    def __init__(self, number: int) -> None:
        self.signal = number


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured, and by what."""

    servers: list[Server]  # the relay first
    traffic: Traffic
    sink_port: int
    pairs: int
    home: Path


def _workers(text: str) -> int | str:
    return text if text == "auto" else int(text)


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3, help="runs of each server in each case (default 3)")
    names = [*CASES, LATENCY, FAR, FLOOD]
    parser.add_argument("--cases", default=",".join(names), help=f"some of {', '.join(names)} (default all)")
    parser.add_argument("--flood", default="", metavar="WORDS", type=shlex.split,
                        help="for tests/bench/flood.py, in quotes (default: all of it, two hours)")  # fmt: skip
    parser.add_argument("--messages", type=int, help="in each run (default 4000, of 100 KiB 500; codes 200)")
    parser.add_argument("--workers", type=_workers, default="auto", help="fronts; 0: one process (default auto)")
    parser.add_argument("--relay-only", action="store_true", help="leave Postfix out")
    parser.add_argument("--traffic", choices=("auto", "postfix", "python"), default="auto",
                        help="smtp-source and smtp-sink, or slower ones in Python")  # fmt: skip
    parser.add_argument("--home", default="/var/tmp", help="a folder on the disk to measure (default /var/tmp)")
    parser.add_argument("--json", metavar="FILE", help="write every figure there too")
    parser.add_argument("--markdown", metavar="FILE", help="write the table of docs/performance.md there")
    chosen = parser.parse_args(words)
    relay_only = ["--servers", "relay"] if chosen.relay_only else []
    chosen.flood = flood.arguments(["--home", chosen.home, *relay_only, *chosen.flood])
    chosen.cases = chosen.cases.split(",")
    if unknown := [name for name in chosen.cases if name not in names]:
        parser.error(f"no case {unknown[0]!r}; there are {', '.join(names)}")
    if chosen.pairs < 1 or (chosen.messages is not None and chosen.messages < 1):
        parser.error("--pairs and --messages are 1 or more")
    return chosen


def main(words: list[str] | None = None) -> int:
    """0 when every message of every run arrived; 1 otherwise; 130 after Ctrl-C, 143 after SIGTERM."""
    chosen = arguments(words)
    try:
        with started(chosen) as (bench, machine):
            report = {"when": time.strftime("%Y-%m-%d %H:%M %Z"), "machine": machine, **run_all(bench, chosen)}
        report["floods"] = run_floods(chosen) if FLOOD in chosen.cases else []
    except Trouble as trouble:
        sys.exit(f"bench: {trouble}")
    except Stopped as stopped:
        print("\nstopped; everything started has ended")
        return 128 + stopped.signal
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(report, indent=1) + "\n")
    if chosen.markdown:
        Path(chosen.markdown).write_text(markdown(report))
    return 0 if all(one["complete"] for one in [*report["runs"], *report["floods"]]) else 1


@contextmanager
def started(chosen: argparse.Namespace) -> Iterator[tuple[Bench, dict[str, object]]]:
    """The servers, running and known to sign; all have ended when the block is left, however it is left."""
    handlers = {one: signal.signal(one, _stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ExitStack() as stack:
            try:
                yield _start(chosen, stack)
            finally:
                _deaf()
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)


def _stop(number: int, _frame: object) -> None:
    _deaf()
    raise Stopped(number)


def _deaf() -> None:
    """A second Ctrl-C must not leave half of it running."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)


def _start(chosen: argparse.Namespace, stack: ExitStack) -> tuple[Bench, dict[str, object]]:
    if len(os.path.abspath(chosen.home)) > LONGEST_HOME:
        limit = f"a Unix socket is made below it, so its own path may have {LONGEST_HOME} bytes"
        raise Trouble(f"--home {chosen.home}: {limit}")
    home = Path(tempfile.mkdtemp(prefix="relay-bench-", dir=chosen.home))
    stack.callback(shutil.rmtree, home, ignore_errors=True)
    home.chmod(0o755)  # Postfix and OpenDKIM drop their rights
    machine = describe(home)
    sink_port = free_port()
    traffic = choose_traffic(sink_port, home, chosen.traffic)
    why_not = "--relay-only" if chosen.relay_only else why_no_postfix()
    print(f"{machine['cpus']} CPUs ({machine['cpu']}), Python {machine['python']}, fsync {machine['fsync_ms']} ms,"
          f" load before {machine['load_before']}; load and sink: {traffic.name}")  # fmt: skip
    if why_not:
        print(f"the relay only: {why_not}")
    key = make_key(home)
    servers = [start_relay(home, sink_port, stack, workers=chosen.workers)]
    if not why_not:
        servers.append(start_postfix(home / "postfix", sink_port, key, stack))
    for server in servers:
        check_signed(server, sink_port)
    return Bench(servers, traffic, sink_port, chosen.pairs, home), machine


def run_all(bench: Bench, chosen: argparse.Namespace) -> dict[str, Any]:
    """Every case; prints as it goes and returns all figures."""
    relay = bench.servers[0]
    memory = {"idle_rss_mb": round(relay.rss_mb(), 1)}
    print(f"the relay idle: {memory['idle_rss_mb']} MB resident\n\n{HEAD}", flush=True)
    runs: list[Run] = []
    summary: dict[str, Any] = {}
    for name in chosen.cases:
        if name in CASES:
            case = replace(CASES[name], count=chosen.messages or CASES[name].count)
            found, summary[name] = run_case(bench, case) if case.signed else run_unsigned(bench, case)
            runs += found
    latency = run_latency(bench, min(CODES, chosen.messages or CODES)) if LATENCY in chosen.cases else []
    far = run_far(bench, min(MESSAGES, chosen.messages or MESSAGES)) if FAR in chosen.cases else []
    memory["after_rss_mb"] = round(relay.rss_mb(), 1)
    memory["peak_rss_mb"] = max((run.peak_rss_mb for run in runs if run.server == relay.name), default=0.0)
    print(f"\nthe relay after it all: {memory['after_rss_mb']} MB resident")
    return {"traffic": bench.traffic.name, "memory": memory, "summary": summary, "latency": latency,
            "far": far, "runs": [as_json(run) for run in runs]}  # fmt: skip


def run_case(bench: Bench, case: Case) -> tuple[list[Run], dict[str, Any]]:
    """Warms up, then the servers in turn; who goes first changes from pair to pair."""
    for server in bench.servers:
        measure(server, replace(case, count=min(WARM_UP, case.count)), bench.traffic, settle_s=0.0)
    pairs = []
    for number in range(bench.pairs):
        order = bench.servers if number % 2 else bench.servers[::-1]
        pairs.append({server.name: measure(server, case, bench.traffic) for server in order})
    summary: dict[str, Any] = {}
    for server in bench.servers:
        runs = [pair[server.name] for pair in pairs]
        summary[server.name] = medians(runs)
        print(row(case.name, runs), flush=True)
    if len(bench.servers) > 1 and all(run.got for pair in pairs for run in pair.values()):
        ours, peer = (server.name for server in bench.servers)
        summary["ratio"] = ratios(pairs, ours, peer)
        print(ratio_row(case.name, summary["ratio"]), flush=True)
    return [run for pair in pairs for run in pair.values()], summary


def run_floods(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Codes while a campaign comes in; each on servers of its own, so the others have ended by then."""
    print(flush=True)
    handlers = {one: signal.signal(one, _stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        return [flood.as_json(one) for one in flood.run_all(chosen.flood)]
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)


def run_unsigned(bench: Bench, case: Case) -> tuple[list[Run], dict[str, Any]]:
    """The relay without a key beside Postfix without OpenDKIM: servers of their own, for this case only."""
    with ExitStack() as stack:
        return run_case(replace(bench, servers=_plain(bench, "unsigned", bench.sink_port, CONNECTIONS, stack)), case)


def run_far(bench: Bench, messages: int) -> list[dict[str, Any]]:
    """A receiver 50 ms away and one connection to it; nothing is signed."""
    wire_port, found = free_port(), []
    with ExitStack() as stack:
        for server in _plain(bench, "far", wire_port, 1, stack):
            one = measure_far(server, wire_port, bench.sink_port, messages)
            print(far_row(one), flush=True)
            found.append(asdict(one))
    return found


def _plain(bench: Bench, name: str, port: int, connections: int, stack: ExitStack) -> list[Server]:
    home = bench.home / name
    home.mkdir()
    servers = [start_relay(home, port, stack, connections=connections, signed=False)]
    if len(bench.servers) > 1:
        servers.append(start_postfix(home / "postfix", port, None, stack, connections=connections))
    return servers


def run_latency(bench: Bench, codes: int) -> list[dict[str, Any]]:
    """A one-time code through each server while it is idle."""
    found = []
    for server in bench.servers:
        one = measure_latency(server, bench.sink_port, codes)
        print(latency_row(one), flush=True)
        found.append({name: round(value, 3) if isinstance(value, float) else value
                      for name, value in asdict(one).items()})  # fmt: skip
    return found


if __name__ == "__main__":
    sys.exit(main())
