"""Runs into figures: medians by case and server, the relay against its peer pair by pair, as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from tests.bench.far import Far
from tests.bench.latency import Latency
from tests.bench.load import Run

HEAD = f"{'case':12} {'server':18} {'msg/s':>9} {'CPU ms/msg':>11} {'peak RSS MB':>12}"
Pair = dict[str, Run]


def row(name: str, runs: Sequence[Run]) -> str:
    """A line of the table: the medians of one server in one case."""
    one = medians(runs)
    note = "" if all(run.complete for run in runs) else "  INCOMPLETE: " + _complaint(runs)
    return f"{name:12} {runs[0].server:18} {one['rate']:9.0f} {one['cpu_ms']:11.3f} {one['peak_rss_mb']:12.1f}{note}"


def medians(runs: Sequence[Run]) -> dict[str, float]:
    """Of messages a second, CPU milliseconds a message, and peak memory."""
    return {
        "rate": round(median(run.rate for run in runs), 1),
        "cpu_ms": round(median(run.cpu_ms for run in runs), 4),
        "peak_rss_mb": round(median(run.peak_rss_mb for run in runs), 1),
    }


def ratios(pairs: Sequence[Pair], ours: str, peer: str) -> dict[str, float]:
    """The relay over its peer, in messages a second and in CPU: of the medians, and the median of the pairs'."""
    return {
        "rate_of_medians": _of_medians(pairs, ours, peer, lambda run: run.rate),
        "rate_of_pairs": _of_pairs(pairs, ours, peer, lambda run: run.rate),
        "cpu_of_medians": _of_medians(pairs, ours, peer, lambda run: run.cpu_ms),
        "cpu_of_pairs": _of_pairs(pairs, ours, peer, lambda run: run.cpu_ms),
    }


def ratio_row(name: str, ratio: dict[str, float]) -> str:
    """The line under a pair of rows."""
    return (f"{name:12} relay / peer: messages x {ratio['rate_of_medians']:.2f} (pairs {ratio['rate_of_pairs']:.2f}),"
            f" CPU x {ratio['cpu_of_medians']:.2f} (pairs {ratio['cpu_of_pairs']:.2f})")  # fmt: skip


def latency_row(one: Latency) -> str:
    """A line of the table of one-time codes."""
    return (f"{'latency':12} {one.server:18} accepted to received p50 {one.accepted_p50_ms:.2f} ms,"
            f" p99 {one.accepted_p99_ms:.2f} ms; from the first byte p50 {one.submitted_p50_ms:.2f} ms,"
            f" p99 {one.submitted_p99_ms:.2f} ms")  # fmt: skip


def far_row(one: Far) -> str:
    """A line of the table of receivers far away."""
    return (f"{'far':12} {one.server:18} {one.rate:.1f} messages/s on one connection, {one.round_trips:.2f} round trips"
            " each")  # fmt: skip


def as_json(run: Run) -> dict[str, Any]:
    """A run with what follows from it."""
    return {**asdict(run), "rate": round(run.rate, 1), "complete": run.complete}


def markdown(report: dict[str, Any]) -> str:
    """The figures of a whole report as docs/performance.md has them."""
    machine = report["machine"]
    lines = [f"{report['when']}, {machine['cpus']} CPUs ({machine['cpu']}), Python {machine['python']}, fsync of 4 KiB"
             f" {machine['fsync_ms']} ms, load before {machine['load_before']}; {report['traffic']}; medians.", "",
             "| case | server | msg/s | CPU ms a message | peak MB | messages: relay / peer (pairs) | CPU (pairs) |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for case, found in report["summary"].items():
        ratio = found.get("ratio")
        servers = [name for name in found if name != "ratio"]
        for name in servers:
            one = found[name]
            against = "| | |"
            if ratio and name == servers[0]:
                against = (f"| {ratio['rate_of_medians']:.2f} ({ratio['rate_of_pairs']:.2f})"
                           f" | {ratio['cpu_of_medians']:.2f} ({ratio['cpu_of_pairs']:.2f}) |")  # fmt: skip
            figures = f"{one['rate']:.0f} | {one['cpu_ms']:.2f} | {one['peak_rss_mb']:.0f}"
            lines.append(f"| `{case}` | {name} | {figures} {against}")
    return "\n".join(lines) + "\n"


def _of_medians(pairs: Sequence[Pair], ours: str, peer: str, figure: Callable[[Run], float]) -> float:
    return round(median(figure(one[ours]) for one in pairs) / median(figure(one[peer]) for one in pairs), 3)


def _of_pairs(pairs: Sequence[Pair], ours: str, peer: str, figure: Callable[[Run], float]) -> float:
    return round(median(figure(one[ours]) / figure(one[peer]) for one in pairs), 3)


def _complaint(runs: Sequence[Run]) -> str:
    worst = next(run for run in runs if not run.complete)
    return f"{worst.got} of {worst.messages} arrived; {worst.error or 'nobody says why'}"
