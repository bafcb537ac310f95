"""How fast `relay policy replay` is, in events a second of CPU: `python tests/bench/replay.py [MESSAGES]`.

A recorded day (tests/unit/recorded_day.py) is played under the shipped policies on both sides.
"""

import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from relay.cli.replay import LEARNED, PLAYED, rows  # noqa: E402
from relay.config.read import load_policies  # noqa: E402
from relay.policy.answers import Evidence  # noqa: E402
from relay.policy.replay import Replay  # noqa: E402
from tests.unit.recorded_day import day, write  # noqa: E402


def played(log: Path) -> Replay:
    """The whole of it."""
    policy, problems = load_policies(ROOT / "policies")
    assert not problems, problems
    evidence = Evidence()
    for row in rows([log], LEARNED):
        evidence.learn(row)
    replay = Replay(policy, policy, evidence)
    for row in rows([log], PLAYED):
        replay.play(row)
    replay.end()
    return replay


def main() -> None:
    """Prints three runs, and the memory of one more."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "events.jsonl"
        write(log, day(messages=messages))
        with log.open("rb") as lines:
            events = sum(1 for _ in lines)
        for _ in range(3):
            began = time.process_time()
            played(log)
            took = time.process_time() - began
            print(f"{events} events in {took:.1f} s of CPU: {events / took:,.0f} a second")
        tracemalloc.start()
        played(log)
        print(f"memory at most: {tracemalloc.get_traced_memory()[1] / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
