"""A slow disk: with 5 ms added to every fsync the relay keeps most of its rate, as one sync pays for all messages
that came while the one before was under way."""

import statistics

import pytest

from tests.bench.load import Case, choose_traffic, measure
from tests.bench.servers import Server
from tests.faults.faulty import under_faults
from tests.faults.form import rounds, workers
from tests.peers.place import free_port

pytestmark = pytest.mark.peers
PAIRS = rounds(1, 5)
MESSAGES = rounds(500, 2000)
DELAY_S, CLIENTS = 0.005, 50


@workers(short=True)
@pytest.mark.timeout(120 + 60 * PAIRS)
def test_five_milliseconds_more_for_each_sync(relay, note, workers):
    sink = free_port()
    delivery = {"mode": "smarthost", "host": f"127.0.0.1:{sink}", "tls": "never", "host_connections": 20}
    one = relay(delivery=delivery, config={"workers": workers}, started=False)
    faults = under_faults(one)
    one.start()
    traffic = choose_traffic(sink, one.home, "auto")
    server = Server("relay", one.smtp_port, [one.program.process])
    case = Case("slow disk", 4096, MESSAGES, keep=True, sessions=CLIENTS)
    measure(server, Case("warm up", 4096, 200, keep=True, sessions=CLIENTS), traffic)
    fast, slow, syncs = [], [], 0
    for _ in range(PAIRS):
        fast.append(measure(server, case, traffic))
        faults.slow_syncs(DELAY_S)
        before = faults.syncs
        slow.append(measure(server, case, traffic))
        syncs += faults.syncs - before
        faults.slow_syncs(0)
    assert all(run.complete for run in fast + slow), fast + slow
    quick, late = (statistics.median(run.rate for run in runs) for runs in (fast, slow))
    one.idle()
    note("17 slow disk: 5 ms more for each fsync", workers=workers, rounds=PAIRS,
         accepted=sum(run.messages for run in fast + slow), lost=sum(run.messages - run.got for run in fast + slow),
         more=f"{late:.0f} of {quick:.0f} messages/s ({late / quick:.0%}), {PAIRS * MESSAGES / syncs:.1f} a sync")
    assert late >= 0.6 * quick
