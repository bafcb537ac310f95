"""An fsync fails with EIO: from then on nothing can be trusted (the kernel may have thrown the data away), so no
message is answered 250 any more and the relay ends. On what the disk really has it starts cleanly."""

import errno
import random

import pytest

from tests.faults.cuts import LARGE_EVERY, cut_often
from tests.faults.faulty import marking, under_faults
from tests.faults.form import rounds
from tests.faults.load import clients, numbers

pytestmark = pytest.mark.peers
ROUNDS = rounds(1, 10)
CUTS = 20
CONNECTIONS = 10


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_after_a_failed_fsync_nothing_is_promised(relay, receive, note):
    answered, lost, again = 0, 0, 0
    for _ in range(ROUNDS):
        server = receive(10)
        one = relay(provider={"connections": CONNECTIONS}, started=False)
        faults = under_faults(one, traced=True)
        marking(server, faults)
        one.start()
        with clients(one, large_every=LARGE_EVERY) as load:
            one.wait(lambda: len(load.answered) > 50, "load")
            faults.fail_syncs(errno.EIO)
            status = one.program.process.wait(10)
            before = set(load.answered)
            load.stop()
        assert status == 1, one.program.tail()
        assert set(load.answered) == before, "nobody was promised anything by a relay that is gone"
        found = cut_often(faults, load.answered, lambda _, end: [end] * CUTS, random.Random())
        assert found.clean(), found
        faults.fail_syncs(0)
        del one.surroundings["FAULTS_TRACE"]
        one.start()
        one.idle()
        got = numbers(server.accepted)
        answered, lost = answered + len(before), lost + len(before - set(got))
        again += len(got) - len(set(got))
        one.stop()
        server.stop()
    note("5 fsync fails with EIO", rounds=ROUNDS, accepted=answered, lost=lost, twice=again,
         more=f"and on {CUTS} disks each without what the failed sync should have kept")
    assert lost == 0
    assert again <= 4 * CONNECTIONS * ROUNDS
