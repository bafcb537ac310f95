"""The name servers are out, by silence or by SERVFAIL: mail waits, nothing bounces, and when they are back it leaves
spread over time."""

import time

import pytest

from tests.faults.form import LONG, rounds, workers
from tests.faults.load import Client, Load, numbers
from tests.peers.nameserver import HEAD, NameServer
from tests.peers.zones import zones

pytestmark = pytest.mark.peers
OUT_S = rounds(4, 600)
DOMAINS, EACH, WAIT_S = 5, 20, 3
WINDOW_S = 0.25
ZONE = "receivers.test"


@pytest.fixture
def outage(place):
    """A name server that does not answer, or answers SERVFAIL, until it is told to."""
    made = []

    def begin(how):
        server = NameServer(place, {ZONE: None})
        made.append(server)
        if how == "silence":
            server.stop()

        def end():
            (server.home / f"{ZONE}.zone").write_text(HEAD.format(name=ZONE, address=server.address) + zone)
            server.stop()
            server.start()

        return server.server, end

    zone = zones(place, {})[ZONE]
    yield begin
    for server in made:
        server.stop()


@pytest.mark.parametrize("how", ["SERVFAIL", *(["silence"] if LONG else [])])
@workers(short=False)
@pytest.mark.timeout(90 + OUT_S)
def test_name_servers_are_out(relay, receive, outage, note, how, workers):
    receivers = [receive(10 + n) for n in range(DOMAINS)]
    server, end = outage(how)
    one = relay(
        stream={"retry": {"after": [f"{WAIT_S}s"], "then": f"{WAIT_S}s", "expire": "1h"}},
        config={"dns": {"servers": [server]}, "workers": workers},
    )
    crowd = [Client(one, f"d{n}", to=f"you@r{10 + n}.{ZONE}", large_every=1 << 30) for n in range(DOMAINS)]
    for client in crowd:
        client.most = EACH
    begun = time.monotonic()
    with Load(crowd) as load:
        load.join()
    time.sleep(max(0.0, OUT_S - (time.monotonic() - begun)))  # the length of the outage
    one.wait(lambda: len(one.events("deferred")) >= len(load.answered), "an attempt for each")
    assert one.events("delivered", "bounced", "expired") == []
    out_s, tries = time.monotonic() - begun, len(one.events("deferred"))
    end()
    begun = time.monotonic()
    one.idle(60)
    at = sorted(message.at for receiver in receivers for message in receiver.accepted)
    fullest = max(sum(first <= other < first + WINDOW_S for other in at) for first in at)
    got = [number for receiver in receivers for number in numbers(receiver.accepted)]
    lost = set(load.answered) - set(got)
    note(f"8 name servers out for {out_s:.0f} s: {how}", workers=workers, rounds=1, accepted=len(load.answered),
         lost=len(lost), twice=len(got) - len(set(got)), again_s=f"{at[0] - begun:.2f}",
         more=f"{tries} attempts put off, 0 bounces; sent over {at[-1] - at[0]:.1f} s, "
              f"{fullest / len(at):.0%} in the fullest {WINDOW_S} s")  # fmt: skip
    assert one.events("bounced", "expired") == []
    assert lost == set()
    assert len(got) == len(set(got))
    assert tries <= len(load.answered) * (out_s / (0.8 * WAIT_S) + 2)
    assert fullest < 0.6 * len(at)
