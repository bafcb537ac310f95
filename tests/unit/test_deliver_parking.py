"""Mail that waits for a pause: forgotten, read again, and still mortal."""

from types import SimpleNamespace

from relay.core.waiting import Waiting
from relay.deliver.parking import Parking

HOUR = 3600.0


class Yard:
    """A dispatcher that writes down what it is told."""

    def __init__(self):
        self.now = 0.0
        self.log = []
        self.settler = SimpleNamespace(done=lambda finished, again: self.log.append(("done", finished[0].message)))
        retry = SimpleNamespace(expire_s=2 * HOUR)
        self.streams = {"news": SimpleNamespace(retry=retry)}
        self.actions = SimpleNamespace(ledger=SimpleNamespace(limits=True))
        self.parking = Parking(self, self.actions, lambda stream: self.log.append(("again", stream)))

    def policy(self):
        return SimpleNamespace(streams=self.streams)

    def clock(self):
        return self.now

    def left(self, stream, count):
        self.log.append(("left", stream, count))

    def unroutable(self, places, outcome):
        self.log.append(("expired", places[0].message, outcome.trouble.value))


def waiting(message, received_at=0.0, stream="news"):
    return Waiting(received_at, message, 0, "a@example.com", "example.com", stream, received_at, 0)


def test_parked_mail_is_forgotten_and_read_again():
    yard = Yard()
    yard.parking.park([waiting("m1"), waiting("m2")])
    assert yard.log == [("left", "news", 1), ("done", "m1"), ("left", "news", 1), ("done", "m2")]
    assert yard.parking.counts == {"news": 2}
    yard.log.clear()
    yard.parking.release()
    yard.parking.release()
    assert yard.log == [("again", "news")]


def test_mail_that_has_had_its_time_is_not_parked():
    yard = Yard()
    yard.now = 2 * HOUR
    yard.parking.park([waiting("m1")])
    assert yard.log == [("expired", "m1", "expired")]


def test_mail_of_a_stream_that_is_gone_has_days():
    yard = Yard()
    yard.now = 4 * 86400.0
    yard.parking.park([waiting("m1", stream="old")])
    assert yard.parking.counts == {"old": 1}


def test_a_sweep_reads_parked_mail_again_when_some_has_expired():
    yard = Yard()
    yard.parking.park([waiting("m1")])
    yard.log.clear()
    yard.now = 2 * HOUR + 59
    yard.parking.sweep()
    assert yard.log == []
    yard.now = 2 * HOUR + 60
    yard.parking.sweep()
    assert yard.log == [("again", "news")]


def test_a_sweep_reads_again_at_most_every_ten_minutes():
    yard = Yard()
    yard.now = 2 * HOUR
    yard.parking.release()
    yard.parking.park([waiting("m1", received_at=30.0)])
    yard.log.clear()
    yard.now = 2 * HOUR + 599
    yard.parking.sweep()
    assert yard.log == []
    yard.now = 2 * HOUR + 600
    yard.parking.sweep()
    assert yard.log == [("again", "news")]


def test_a_clock_that_goes_back_does_not_keep_parked_mail_alive():
    yard = Yard()
    yard.now = 30 * HOUR
    yard.parking.release()
    yard.now = 3 * HOUR
    yard.parking.park([waiting("m1", received_at=1.5 * HOUR)])
    yard.log.clear()
    yard.now = 4 * HOUR
    yard.parking.sweep()
    assert yard.log == [("again", "news")]
