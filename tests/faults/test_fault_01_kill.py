"""SIGKILL under load: whatever was answered 250 is delivered in the end, however often the relay dies.

Clients send as fast as they are answered; a process of the relay is killed at a random moment and started again
where it does not come back by itself. Delivery goes on all the while, to a receiver that lives through it, so that
kills fall between its 250 and our record of it too. What comes twice was known as possible: the journal had it under
way (`lost_after_dot` in the events).
"""

import os
import random
import signal
import time

import pytest

from relay.cli.failure import Failed
from tests.faults.form import rounds, within
from tests.faults.load import clients, numbers
from tests.faults.machine import processes

pytestmark = [pytest.mark.peers, pytest.mark.slow]
ROUNDS = rounds(2, 170)  # 4 × 170: front, engine, both, and the one process
CONNECTIONS = 10
VICTIMS = [("all", 0), ("front", 2), ("engine", 2), ("all", 2)]


def kill(one, victim):
    """Kills a process of that name; returns when mail is taken again."""
    running = processes(one)
    victims = [pid for name, pid in running.items() if pid and (victim == "all" or name.startswith(victim))]
    for pid in set(victims) if victim == "all" else victims[:1]:
        os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    if victim == "all":
        one.program.process.wait()
        one.run("queue", "check")  # the queue of the dead proves sound
        begun = time.monotonic()
        one.start()
    else:
        one.wait(lambda: answers(one), "the relay is whole again")
        one.wait(lambda: not set(victims[:1]) & set(processes(one).values()), "the process is replaced")
        one.wait(one.ready, "mail is taken again")
    return time.monotonic() - begun


def answers(one):
    """Whether the engine is there to be asked."""
    try:
        return bool(one.status())
    except Failed:
        return False


@pytest.mark.parametrize(("victim", "workers"), VICTIMS)
@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_nothing_answered_250_is_lost(relay, receive, note, victim, workers):
    server = receive()
    one = relay(provider={"connections": CONNECTIONS}, config={"workers": workers})
    dice, again_s = random.Random(), []
    with clients(one) as load:
        for _ in range(ROUNDS):
            before = len(load.answered)
            one.wait(lambda: len(load.answered) > before + 20, "load")  # noqa: B023
            time.sleep(dice.uniform(0, 0.5))  # the moment is the experiment
            again_s.append(kill(one, victim))
    one.idle(120)
    answered, delivered = set(load.answered), numbers(server.accepted)
    lost, twice = answered - set(delivered), len(delivered) - len(set(delivered))
    known = [row for row in one.events("deferred") if row.get("lost_after_dot")]
    note(f"1 SIGKILL: {victim}", workers=workers, rounds=ROUNDS, accepted=len(answered), lost=len(lost), twice=twice,
         again_s=f"{max(again_s):.2f}", more=f"{len(known)} in doubt; refused meanwhile {dict(load.refused)}")
    assert lost == set()
    assert twice <= len(known) <= ROUNDS * CONNECTIONS
    one.run("queue", "check")
    assert max(again_s) < within(5)
    assert all(code.startswith("4") for code in load.refused)
    assert one.waiting() == []
