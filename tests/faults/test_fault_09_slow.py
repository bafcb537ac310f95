"""One destination takes seconds for each message and a backlog waits for it: mail to others is as quick as before."""

import statistics
import time

import pytest

from tests.faults.form import rounds, workers
from tests.faults.load import Client, Load, numbers
from tests.peers.receiver import always, later

pytestmark = pytest.mark.peers
SLOW_S, BACKLOG = 1.0, 200
PROBES = rounds(60, 600)
NOISE_S = 0.025  # this machine's own: two processors, shared


def delays(one, name, probes=PROBES):
    """Seconds from accepted to delivered of the probes of that name, sorted."""
    client = Client(one, name, to="you@r11.receivers.test", pause_s=0.03, large_every=1 << 30)
    client.most = probes
    with Load([client]) as load:
        load.join()
    ids = set(load.answered.values())
    one.wait(lambda: len([row for row in one.events("delivered") if row["message"] in ids]) == probes, "the probes")
    return sorted(row["delay_s"] for row in one.events("delivered") if row["message"] in ids)


def p95(values):
    return values[int(len(values) * 0.95)]


@workers(short=False)
@pytest.mark.timeout(200)
def test_a_slow_destination_slows_nobody_else(relay, receive, note, workers):
    receive(10, {"dot": always(later(SLOW_S, b"250 2.0.0 at last\r\n"))})
    others = receive(11)
    one = relay(provider={"connections": 5}, config={"workers": workers})
    delays(one, "warm", 20)
    alone = delays(one, "alone")
    crowd = [Client(one, f"slow{n}", large_every=1 << 30) for n in range(4)]
    for client in crowd:
        client.most = BACKLOG // len(crowd)
    with Load(crowd) as load:
        load.join()
    begun = time.monotonic()
    beside = delays(one, "beside")
    waiting = one.total("relay_queue_recipients")
    got = numbers(others.accepted)
    lost = 20 + 2 * PROBES - len(set(got))
    note("9 one destination answers slowly", workers=workers, rounds=1, accepted=20 + 2 * PROBES + len(load.answered),
         lost=lost, twice=len(got) - len(set(got)),
         more=f"others' p95 {p95(alone) * 1000:.1f} ms alone, {p95(beside) * 1000:.1f} ms beside it "
              f"(median {statistics.median(alone) * 1000:.1f}, {statistics.median(beside) * 1000:.1f})")  # fmt: skip
    assert lost == 0
    assert len(got) == len(set(got))
    assert waiting > 0, f"the backlog was gone after {time.monotonic() - begun:.0f} s"
    assert p95(beside) <= 1.1 * p95(alone) + NOISE_S
    one.run("queue", "cancel", "--recipient", "*@r10.receivers.test", "--yes", check=False)
