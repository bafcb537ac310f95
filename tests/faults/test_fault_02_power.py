"""Power cuts: whatever was answered 250 before the cut is in the queue afterwards, or was delivered before it.

One run of the real relay under load is recorded, every change of its files with the replies it sent and the
messages the receiver took in between. Then the power is cut at random places of the record, thousands of times:
each time a disk is made up of what was synced and a random part of what was not, torn and out of order
(tests/faults/disk.py), and the queue is opened on it.

The control is the same relay with `synchronous=NORMAL`. It must lose mail: else the cuts prove nothing.
"""

import random
import sys
from pathlib import Path

import pytest

from tests.faults.cuts import LARGE_EVERY, cut_often
from tests.faults.faulty import marking, under_faults
from tests.faults.form import rounds, within
from tests.faults.load import Client, Load
from tests.peers.place import wait_for

pytestmark = [pytest.mark.peers, pytest.mark.slow]
CUTS = rounds(100, 3000)
CONTROL_CUTS = max(40, CUTS // 10)
MESSAGES, BURSTS, CLIENTS, CONNECTIONS = 10, 3, 4, 10


def recorded(relay, receive, command=None):
    """(what was recorded, id by number): one run from an empty folder to a clean stop, with idle moments in
    which the log of the queue is written back."""
    one = relay(provider={"connections": CONNECTIONS}, started=False)
    faults = under_faults(one, traced=True)
    one.command = command or one.command
    marking(receive(10), faults)
    one.start()
    answered = {}
    for burst in range(BURSTS):
        crowd = [Client(one, f"b{burst}c{n}", large_every=LARGE_EVERY) for n in range(CLIENTS)]
        for client in crowd:
            client.most = MESSAGES * (burst + 1)
        with Load(crowd) as load:
            load.join()
        answered |= load.answered
        one.idle()
        synced = faults.syncs
        wait_for(lambda: faults.syncs > synced, "the log of the queue is written back", 5)  # noqa: B023
    one.stop()
    return faults, answered


@pytest.mark.timeout(200 + CUTS)
def test_a_power_cut_loses_nothing(relay, receive, note):
    dice = random.Random()
    faults, ids = recorded(relay, receive)
    found = cut_often(faults, ids, lambda first, end: dice.choices(range(first // 2, end), k=CUTS), dice)
    note("2 power cuts", rounds=found.cuts, accepted=found.accepted, lost=len(found.lost), twice=found.again,
         again_s=f"{found.opened_s:.2f}", more=f"one run of {len(ids)} messages; twice: the most of one cut")
    assert found.clean(), found
    assert found.again <= 4 * CONNECTIONS  # a connection goes on while what it delivered is being recorded
    assert found.opened_s < within(5)


@pytest.mark.timeout(200 + CUTS)
def test_the_control_loses_mail(relay, receive, note):
    dice = random.Random()
    faults, ids = recorded(relay, receive, [sys.executable, str(Path(__file__).parent / "normal.py")])
    found = cut_often(faults, ids, lambda first, end: dice.choices(range(first, end), k=CONTROL_CUTS), dice)
    note("2 the control: synchronous=NORMAL", rounds=found.cuts, accepted=found.accepted, lost=len(found.lost),
         twice=found.again, more="must lose")
    assert found.lost
