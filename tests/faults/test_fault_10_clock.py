"""The wall clock is set forward and back by a day: nothing bounces early, nothing is tried in a storm or left for a
day, new mail is stamped with the clock of then, and a restart finds the queue as it was."""

import time
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime

import pytest

from tests.faults.faulty import under_faults
from tests.faults.form import rounds, within, workers
from tests.faults.load import Client, Load, numbers
from tests.peers.receiver import always

pytestmark = pytest.mark.peers
DAY = 86_400.0
WAITING, WAIT_S, WATCH_S = 40, 1.5, rounds(3, 30)
ALLOWED_S = within(5.0)  # between two programs of a busy machine


def sent(one, name, count, to):
    client = Client(one, name, to=to, large_every=1 << 30)
    client.most = count
    with Load([client]) as load:
        load.join()
    return load.answered


def watched(one, seconds):
    """How many attempts are put off in that time."""
    before = len(one.events("deferred"))
    time.sleep(seconds)  # the time is what is measured
    return len(one.events("deferred")) - before


def fresh(one, server, name, shift_s):
    """A new message passes at once, and tells the time of the clock that was set."""
    answered, begun = sent(one, name, 1, "you@r11.receivers.test"), time.monotonic()
    server.wait(lambda me: f"{name}.1" in numbers(me.accepted), name)
    assert time.monotonic() - begun < ALLOWED_S
    head = BytesHeaderParser().parsebytes(server.accepted[-1].data)
    stamped = parsedate_to_datetime(head["Date"]).timestamp()
    assert abs(stamped - time.time() - shift_s) < ALLOWED_S
    (id_,) = answered.values()
    one.wait(lambda: [row for row in one.events("delivered") if row["message"] == id_], "the event of it")
    (row,) = [row for row in one.events("delivered") if row["message"] == id_]
    assert abs(row["time"] - time.time() - shift_s) < ALLOWED_S
    assert 0 <= row["delay_s"] < ALLOWED_S


@workers(short=False)
@pytest.mark.timeout(60 + 5 * WATCH_S)
def test_the_clock_is_set_by_a_day(relay, receive, note, workers):
    late, server = receive(10, {"rcpt": always(b"451 4.3.2 not yet\r\n")}), receive(11)
    one = relay(stream={"retry": {"after": [f"{WAIT_S:g}s"], "then": f"{WAIT_S:g}s", "expire": "1h"}}, started=False,
                config={"workers": workers})  # fmt: skip
    faults = under_faults(one)
    one.start()
    waiting = sent(one, "w", WAITING, "you@r10.receivers.test")
    most = WAITING * (WATCH_S / (0.8 * WAIT_S) + 1)
    least = WAITING * (WATCH_S / (1.2 * WAIT_S) - 1)
    tries = {"before": watched(one, WATCH_S)}
    for name, shift_s in (("forward", DAY), ("back", -DAY)):
        faults.shift_wall(shift_s)
        tries[name] = watched(one, WATCH_S)
        fresh(one, server, name, shift_s)
    one.wait(lambda: "the clock was set by" in (one.home / "log").read_text(), "the log tells of it")
    one.stop()
    one.start()
    tries["restarted"] = watched(one, WATCH_S)
    fresh(one, server, "again", -DAY)
    assert one.events("bounced", "expired") == []
    late.answers.pop("rcpt")
    one.idle(60)
    got = numbers(late.accepted)
    lost = set(waiting) - set(got)
    note("10 clock +1 day, -1 day, restart", workers=workers, rounds=3, accepted=WAITING + 3,
         lost=len(lost), twice=len(got) - len(set(got)),
         more=f"attempts of {WAITING} in {WATCH_S:g} s: {tries}; 0 bounces")
    assert lost == set()
    assert all(least <= count <= most for count in tries.values()), (tries, least, most)
    faults.shift_wall(0)
