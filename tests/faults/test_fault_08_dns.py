"""The name servers are out: mail waits, nothing bounces, and when they are back it leaves spread over time."""

import time

import pytest

from tests.faults.form import rounds
from tests.faults.load import Client, Load, numbers

pytestmark = pytest.mark.peers
OUT_S = rounds(6, 600)
DOMAINS, EACH, WAIT_S = 5, 20, 3
WINDOW_S = 0.25


@pytest.mark.timeout(90 + OUT_S)
def test_name_servers_are_out(relay, receive, names, note):
    servers = [receive(10 + n) for n in range(DOMAINS)]
    one = relay(stream={"retry": {"after": [f"{WAIT_S}s"], "then": f"{WAIT_S}s", "expire": "1h"}})
    crowd = [Client(one, f"d{n}", to=f"you@r{10 + n}.receivers.test", large_every=1 << 30) for n in range(DOMAINS)]
    for client in crowd:
        client.most = EACH
    names.stop()
    try:
        begun = time.monotonic()
        with Load(crowd) as load:
            load.join()
        time.sleep(max(0.0, OUT_S - (time.monotonic() - begun)))  # the length of the outage
        assert one.events("delivered", "bounced", "expired") == []
        tries = len(one.events("deferred"))
    finally:
        names.start()
    begun = time.monotonic()
    one.idle(4 * WAIT_S + 30)
    at = sorted(message.at for server in servers for message in server.accepted)
    fullest = max(sum(first <= other < first + WINDOW_S for other in at) for first in at)
    got = [number for server in servers for number in numbers(server.accepted)]
    lost = set(load.answered) - set(got)
    note(f"8 name servers out for {OUT_S} s", rounds=1, accepted=len(load.answered), lost=len(lost),
         twice=len(got) - len(set(got)), again_s=f"{at[0] - begun:.2f}",
         more=f"{tries} attempts put off, 0 bounces; sent over {at[-1] - at[0]:.1f} s, "
              f"{fullest / len(at):.0%} in the fullest {WINDOW_S} s")  # fmt: skip
    assert one.events("bounced", "expired") == []
    assert lost == set()
    assert len(got) == len(set(got))
    assert tries <= len(load.answered) * (OUT_S / (0.8 * WAIT_S) + 2)
    assert fullest < 0.6 * len(at)
