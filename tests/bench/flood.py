"""A campaign floods a server while one-time codes come in: how late are the codes, and what does the campaign lose?

    python tests/bench/flood.py                         everything: about two hours
    python tests/bench/flood.py --servers relay --sizes 2000 --floods 10-slow --seconds 10

Each run has a server of its own with an empty queue, and three phases in which codes come in, five a second, each
on a connection of its own: `idle`; `injection`, while the campaign is handed over on ten connections as fast as it
is taken; `standing`, while its backlog waits and is delivered. A code's time is from the 250 its sender read to its
last byte at a receiver whose process has nothing else to do. Slow destinations take a second for each message.
`alone` is the campaign to fast destinations without codes: what it may lose by them is measured against it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # `python tests/bench/flood.py` from anywhere

from relay.cli.machine import Program, Trouble, describe
from tests.bench import codes
from tests.bench.codes import DOMAIN, Late, Sent, lateness
from tests.bench.crowded import SERVERS
from tests.bench.servers import ROOT, Server, why_no_postfix
from tests.bench.source import Campaign
from tests.internet.behaviour import Provider, crowd, domains_of
from tests.internet.facts import Facts
from tests.internet.internet import Internet
from tests.peers.place import Place

ALONE = "alone"
FLOODS = {"1-slow": (1, 1.0), "10-slow": (10, 1.0), "fast": (10, 0.0), ALONE: (10, 0.0)}  # destinations, s a message
WARM_UP_S = 2.0  # codes before it are not counted: the first ones open connections
LOST_S = 180.0  # a code that has not come so long after the last phase is given up
PATIENCE_S = 3600.0  # for a campaign to be handed over, or delivered where destinations are fast
WORSE_MOST, P99_MOST_MS, KEPT_LEAST = 1.5, 50.0, 0.95  # the goals
HEAD = (f"{'flood':8} {'news':>7} {'server':23} {'phase':10} {'codes':>6} {'p50 ms':>9} {'p99 ms':>10} {'max ms':>10}"
        f" {'to 250 p99':>11} {'news/s':>8}")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: `seconds` of idle and of standing backlog each, `rate` codes a second."""

    flood: str
    size: int
    seconds: float
    rate: float

    def providers(self) -> list[Provider]:
        """Where the codes go, in a process of their own with the DNS, and where the campaign goes."""
        count, message_s = FLOODS[self.flood]
        return [Provider("codes", (DOMAIN,), group="codes"),
                *crowd("news", count, message_s=message_s, group="crowd")]  # fmt: skip

    @property
    def slow(self) -> bool:
        """Whether the campaign outlasts the run."""
        return FLOODS[self.flood][1] > 0


@dataclass(frozen=True, slots=True)
class Phase:
    """What happened in a part of a run; `news_per_s` were received."""

    name: str
    seconds: float
    late: Late
    news_per_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one server. `rate`: the campaign's messages a second from the first byte to the last received,
    of a slow one those accepted a second."""

    server: str
    plan: Plan
    phases: list[Phase]
    rate: float
    complete: bool


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--floods", default=",".join(FLOODS), help=f"some of {', '.join(FLOODS)} (default all)")
    parser.add_argument("--sizes", default="20000,200000", help="messages of the campaign (default 20000,200000)")
    parser.add_argument("--servers", default=",".join(SERVERS), help=f"some of {', '.join(SERVERS)} (default all)")
    parser.add_argument("--seconds", type=float, default=40, help="of idle, and of standing backlog (default 40)")
    parser.add_argument("--rate", type=float, default=5, help="codes a second (default 5)")
    parser.add_argument("--home", default="/var/tmp", help="a folder on the disk to measure (default /var/tmp)")
    parser.add_argument("--json", metavar="FILE", help="write every figure there too")
    chosen = parser.parse_args(words)
    for option, allowed in (("floods", FLOODS), ("servers", SERVERS)):
        names = getattr(chosen, option).split(",")
        if unknown := [name for name in names if name not in allowed]:
            parser.error(f"--{option}: no {unknown[0]!r}; there are {', '.join(allowed)}")
        setattr(chosen, option, names)
    try:
        chosen.sizes = [int(size) for size in chosen.sizes.split(",")]
    except ValueError:
        parser.error(f"--sizes: {chosen.sizes!r} are no numbers; write 20000,200000")
    if min(chosen.sizes) < 1 or chosen.rate <= 0 or chosen.seconds < 1:
        parser.error("--sizes, --seconds are 1 or more, --rate above 0")
    return chosen


def run_all(chosen: argparse.Namespace) -> list[Outcome]:
    """Every flood of every size on every server, servers in turn; prints as it goes."""
    servers = chosen.servers
    if (why_not := why_no_postfix(opendkim=False)) and any("postfix" in name for name in servers):
        print(f"the relay only: {why_not}")
        servers = [name for name in servers if "postfix" not in name]
    print(HEAD, flush=True)
    outcomes = []
    for size in chosen.sizes:
        for flood in chosen.floods:
            for server in servers:
                outcomes.append(run(server, Plan(flood, size, chosen.seconds, chosen.rate), Path(chosen.home)))
                print("\n".join(rows(outcomes[-1])), flush=True)
    print("\n" + "\n".join(verdicts(outcomes)), flush=True)
    return outcomes


def run(server: str, plan: Plan, home: Path) -> Outcome:
    """One run on a server of its own. Raises Trouble when it cannot be measured."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="relay-flood-", dir=home))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)  # Postfix drops its rights
        place = Place()
        stack.callback(place.close)
        internet = Internet(place, plan.providers())
        stack.callback(internet.stop)
        return _flood(SERVERS[server](folder / "server", internet, stack), plan, internet, folder, stack)


def _flood(server: Server, plan: Plan, internet: Internet, folder: Path, stack: ExitStack) -> Outcome:
    sent = folder / "codes"
    sent.touch()
    edges = [time.monotonic() + WARM_UP_S]
    if plan.flood != ALONE:
        command = [sys.executable, "-m", "tests.bench.codes", str(server.port), str(plan.rate), str(sent)]
        sender = Program(command, folder / "codes.log", cwd=ROOT)
        stack.callback(sender.stop)
        _sleep_until(edges[0] + plan.seconds, sender)
    edges.append(time.monotonic())
    source = _hand_over(server, plan, folder, stack)
    edges.append(time.monotonic())
    if plan.slow:
        _sleep_until(edges[-1] + plan.seconds, sender)
    else:
        _wait(internet, lambda facts: len(facts.to("news")) >= plan.size, PATIENCE_S)
    edges.append(time.monotonic())
    if plan.flood != ALONE:
        sender.stop()
    wanted = {one.recipient for one in codes.read(sent) if one.accepted is not None}
    _wait(internet, lambda facts: wanted <= _arrivals(facts).keys(), LOST_S)
    return _outcome(server, plan, edges, codes.read(sent), internet.facts, source)


def _hand_over(server: Server, plan: Plan, folder: Path, stack: ExitStack) -> dict[str, float]:
    """Hands over the campaign; returns what the source says of it."""
    campaign = Campaign(server.port, plan.size, domains_of(plan.providers()[1:]))
    (folder / "campaign.json").write_text(json.dumps(asdict(campaign)))
    command = [sys.executable, "-m", "tests.bench.source", str(folder / "campaign.json")]
    program = Program(command, folder / "source.log", cwd=ROOT)
    stack.callback(program.stop)
    try:
        program.process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise Trouble(f"{server.name} did not take {plan.size} messages in {PATIENCE_S:.0f} s") from None
    said = program.log.read_text(errors="replace")
    if program.process.returncode != 0:
        raise Trouble(f"{server.name} did not take the campaign: {said[-1000:]}")
    return dict(json.loads(said.splitlines()[-1]))


def _outcome(
    server: Server, plan: Plan, edges: list[float], sent: list[Sent], facts: Facts, source: dict[str, float]
) -> Outcome:
    arrivals, news = _arrivals(facts), [one.at for one in facts.to("news")]
    names = ("idle", "injection", "standing") if plan.slow else ("idle", "injection", "draining")
    phases = []
    for name, begin, end in zip(names, edges, edges[1:], strict=False):
        here = [one for one in sent if begin <= one.begun < end]
        received = sum(begin <= at < end for at in news)
        phases.append(Phase(name, end - begin, lateness(here, arrivals), received / max(end - begin, 1e-6)))
    ended = source["ended"] if plan.slow else max(news, default=source["ended"])
    rate = plan.size / (ended - source["begun"])
    whole = source["taken"] == plan.size and (plan.slow or len(news) == plan.size)
    lost = sum(phase.late.lost for phase in phases)
    return Outcome(server.name, plan, phases, rate, whole and not lost)


def _arrivals(facts: Facts) -> dict[str, float]:
    """When each code was received."""
    return {one.recipients[0]: one.at for one in facts.to("code")}


def _sleep_until(end: float, sender: Program) -> None:
    while time.monotonic() < end:
        if sender.process.poll() is not None:
            raise Trouble(f"the sender of codes has ended: {sender.log.read_text(errors='replace')[-1000:]}")
        time.sleep(0.2)


def _wait(internet: Internet, question: Callable[[Facts], bool], most_s: float) -> None:
    end = time.monotonic() + most_s
    while not question(internet.facts) and time.monotonic() < end:
        time.sleep(0.5)


def rows(outcome: Outcome) -> list[str]:
    """The lines of one run; of the campaign alone, one."""
    plan = outcome.plan
    head = f"{plan.flood:8} {plan.size:7} {outcome.server:23}"
    note = "" if outcome.complete else "  INCOMPLETE"
    if plan.flood == ALONE:
        return [f"{head} {'':10} {'':6} {'':9} {'':10} {'':10} {'':11} {outcome.rate:8.0f}{note}"]
    return [
        f"{head} {one.name:10} {one.late.codes:6} {one.late.p50_ms:9.2f} {one.late.p99_ms:10.2f}"
        f" {one.late.max_ms:10.2f} {one.late.taken_p99_ms:11.2f} {one.news_per_s:8.0f}{note}"
        for one in outcome.phases
    ]  # fmt: skip


def verdicts(outcomes: list[Outcome]) -> list[str]:
    """A line for each flood of the relay: how far its codes and its campaign are from the goals."""
    best = {one.plan.size: one.rate for one in outcomes if one.plan.flood == ALONE and one.server == "relay"}
    found = []
    for one in (one for one in outcomes if one.server == "relay" and one.plan.flood != ALONE):
        idle = one.phases[0].late.p99_ms
        worst = max(phase.late.p99_ms for phase in one.phases[1:])
        good = worst <= min(P99_MOST_MS, WORSE_MOST * idle)
        goal = f"goal: {WORSE_MOST} times and below {P99_MOST_MS:.0f} ms"
        line = (f"{one.plan.flood}, {one.plan.size}: p99 {worst:.2f} ms, {worst / max(idle, 1e-6):.1f} times idle"
                f" ({goal}): {'met' if good else 'missed'}")  # fmt: skip
        if (alone := best.get(one.plan.size)) and not one.plan.slow:
            kept = one.rate / alone
            line += f"; the campaign keeps {kept:.0%} of its rate alone: {'met' if kept >= KEPT_LEAST else 'missed'}"
        found.append(line)
    return found


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Every figure of a run."""
    return asdict(outcome)


def main(words: list[str] | None = None) -> int:
    """0 when every code and, where it could be, every message of the campaign arrived."""
    chosen = arguments(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # on its way out everything that was started ends
    try:
        machine = describe(Path(chosen.home))
        outcomes = run_all(chosen)
    except Trouble as trouble:
        sys.exit(f"flood: {trouble}")
    if chosen.json:
        report = {"machine": machine, "floods": [as_json(one) for one in outcomes]}
        Path(chosen.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(one.complete for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
