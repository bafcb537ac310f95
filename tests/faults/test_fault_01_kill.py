"""SIGKILL under load: whatever was answered 250 is delivered in the end, however often the relay dies.

Clients send as fast as they are answered; a process of the relay is killed at a random moment and started again
where it does not come back by itself. Delivery goes on all the while, to a receiver that lives through it, so that
kills fall between its 250 and our record of it too.
"""

import os
import random
import signal
import time

import pytest

from tests.faults.form import rounds, within
from tests.faults.load import clients, numbers

pytestmark = [pytest.mark.peers, pytest.mark.slow]
ROUNDS = rounds(3, 500)
CONNECTIONS = 10
VICTIMS = ["all"]  # or the name of a process, as `relay status --json` tells them


def kill(one, victim):
    """Kills the processes of that name; True when the relay must be started again."""
    now = one.status()
    processes = now.get("processes") or {"relay": now["pid"]}
    for name, pid in processes.items():
        if victim == "all" or name.startswith(victim):
            os.kill(pid, signal.SIGKILL)
    ends = victim == "all" or processes[victim] == one.program.process.pid
    if ends:
        one.program.process.wait()
    return ends


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_nothing_answered_250_is_lost(relay, receive, note, victim):
    server = receive()
    one = relay(provider={"connections": CONNECTIONS})
    dice, again_s = random.Random(), []
    with clients(one) as load:
        for _ in range(ROUNDS):
            before = len(load.answered)
            one.wait(lambda: len(load.answered) > before + 20, "load")  # noqa: B023
            time.sleep(dice.uniform(0, 0.5))  # the moment is the experiment
            if kill(one, victim):
                begun = time.monotonic()
                one.start()
                again_s.append(time.monotonic() - begun)
    one.idle(120)
    answered, delivered = set(load.answered), numbers(server.accepted)
    lost, twice = answered - set(delivered), len(delivered) - len(set(delivered))
    note(f"1 SIGKILL: {victim}", rounds=ROUNDS, accepted=len(answered), lost=len(lost), twice=twice,
         again_s=f"{max(again_s, default=0.0):.2f}", more=f"refused meanwhile {dict(load.refused)}")
    assert lost == set()
    assert twice <= ROUNDS * 4 * CONNECTIONS
    assert max(again_s, default=0.0) < within(5)
    assert all(code.startswith("4") for code in load.refused)
    assert one.waiting() == []
