"""A copy of the live files, as a snapshot of the disk gives it, opens clean elsewhere and has all mail.

The relay is stopped (SIGSTOP) while they are copied, wherever it was: that is what a snapshot sees. Copying the
files of a running relay one after the other is no backup; `relay backup` is.
"""

import os
import random
import signal
import time

import pytest

from tests.faults.cuts import LARGE_EVERY, Found, World, look_at_copy
from tests.faults.form import rounds
from tests.faults.load import clients, numbers

pytestmark = pytest.mark.peers
COPIES = rounds(4, 100)
CONNECTIONS = 10


@pytest.mark.timeout(60 + 5 * COPIES)
def test_a_copy_of_the_live_files_is_clean(relay, receive, note):
    server = receive(10)
    one = relay(provider={"connections": CONNECTIONS})
    found, dice = Found(), random.Random()
    with clients(one, large_every=LARGE_EVERY) as load:
        for _ in range(COPIES):
            time.sleep(dice.uniform(0.2, 0.6))  # the moment is the experiment
            answered = load.answered
            os.kill(one.program.process.pid, signal.SIGSTOP)
            world = World({})
            world.answered, world.delivered = set(answered), set(numbers(server.seen.messages))
            try:
                look_at_copy(one.home / "data", found, world)
            finally:
                os.kill(one.program.process.pid, signal.SIGCONT)
            found.cuts, found.accepted = found.cuts + 1, found.accepted + len(answered)
    one.idle()
    note("3 copy of the live files", rounds=found.cuts, accepted=found.accepted, lost=len(found.lost),
         twice=found.again, again_s=f"{found.opened_s:.2f}")
    assert found.clean(), found
    assert found.accepted > 0
