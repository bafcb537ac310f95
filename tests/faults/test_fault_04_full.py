"""The disk is full: new mail is told 452 4.3.1 and nothing else, what is queued is delivered and its end recorded,
and with room again mail is taken by itself."""

import subprocess
import time
from contextlib import suppress

import pytest

from tests.faults.faulty import under_faults
from tests.faults.form import within
from tests.faults.load import clients, message, numbers
from tests.peers.receiver import always

pytestmark = pytest.mark.peers
BACKLOG = 60
CONNECTIONS = 10


def filled(one, server):
    """A backlog that waits for a receiver that says no as yet."""
    server.answers["rcpt"] = always(b"451 4.3.2 not now\r\n")
    with clients(one, 4) as load:
        one.wait(lambda: len(load.answered) >= BACKLOG, "a backlog")
    return set(load.answered)


def while_full(one, server, empty):
    """(answered while full, refusals, seconds to take mail again): the receiver comes back while the disk is full."""
    before = set(numbers(server.accepted))
    server.answers.pop("rcpt")
    with clients(one, 2, name="late", large_every=3, pause_s=0.01) as load:
        one.wait(lambda: load.refused, "the disk is full for new mail")
        one.wait(lambda: one.total("relay_queue_recipients") <= len(load.answered), "deliveries go on")
        assert set(numbers(server.accepted)) > before
        empty()
        begun, had = time.monotonic(), len(load.answered)
        one.wait(lambda: len(load.answered) > had + 10, "mail is taken again", within(10))
        again_s = time.monotonic() - begun
    return set(load.answered), load.refused, again_s


def judged(note, name, one, server, answered, refused, again_s):
    one.idle()
    got = numbers(server.accepted)
    lost, twice = len(answered - set(got)), len(got) - len(set(got))
    note(name, rounds=1, accepted=len(answered), lost=lost, twice=twice, again_s=f"{again_s:.2f}",
         more=f"refused {dict(refused)}")
    assert set(refused) == {"452 4.3.1"}
    assert (lost, twice) == (0, 0)
    assert again_s < within(5)


def test_no_file_may_grow(relay, receive, note):
    server = receive(10)
    one = relay(provider={"connections": CONNECTIONS}, started=False)
    faults = under_faults(one)
    one.start()
    answered = filled(one, server)
    faults.fill_disk(full=True)
    more, refused, again_s = while_full(one, server, lambda: faults.fill_disk(full=False))
    judged(note, "4 disk full: no file may grow", one, server, answered | more, refused, again_s)


@pytest.fixture
def small_disk(relay):
    """A relay whose data is on a file system of 64 MB; needs the right to mount."""
    one = relay(provider={"connections": CONNECTIONS}, started=False)
    data = str(one.home / "data")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", data], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not allowed to mount")
    yield one.start()
    one.stop()
    subprocess.run(["umount", data], check=True)


def test_a_small_disk_is_full(small_disk, receive, note):
    one, server = small_disk, receive(10)
    answered = filled(one, server)
    filler = one.home / "data" / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):  # another program takes all there is
        while True:
            file.write(bytes(4096))
    more, refused, again_s = while_full(one, server, filler.unlink)
    judged(note, "4 disk full: tmpfs of 64 MB", one, server, answered | more, refused, again_s)


def test_a_message_that_is_larger_than_the_room(relay, receive):
    """Refused at its end, with nothing left behind."""
    receive(10)
    one = relay(started=False)
    faults = under_faults(one)
    one.start()
    faults.fill_disk(full=True)
    with one.smtp() as smtp:
        smtp.ehlo()
        for verb in ("MAIL FROM:<shop@shop.test>", "RCPT TO:<you@r10.receivers.test>", "DATA"):
            smtp.docmd(verb)
        smtp.send(message("large.1", 3_000_000) + b".\r\n")
        code, words = smtp.getreply()
    assert (code, words[:5]) == (452, b"4.3.1")
    assert not list((one.home / "data" / "spool" / "tmp").iterdir())
    faults.fill_disk(full=False)


def test_a_stop_does_not_wait_for_room(relay, receive):
    server = receive(10)
    one = relay(provider={"connections": CONNECTIONS}, started=False)
    faults = under_faults(one)
    one.start()
    answered = filled(one, server)
    faults.fill_disk(full=True)
    (one.home / "data" / "ballast").unlink()  # by somebody else: no room is given back
    server.answers.pop("rcpt")
    one.wait(lambda: "its last room is used" in (one.home / "log").read_text(), "nothing can be recorded")
    one.stop()
    faults.fill_disk(full=False)
    one.start()
    one.idle()
    assert set(numbers(server.accepted)) >= answered
