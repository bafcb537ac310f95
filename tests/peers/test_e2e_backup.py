"""Backup of a relay under load, restore elsewhere: what was answered 250 before is in the copy or delivered."""

import json
import time

import pytest

from tests.faults.load import NUMBER, SENDER, YOU, Client, numbers
from tests.peers.receiver import always, later
from tests.peers.relay import submit

pytestmark = pytest.mark.peers
CLIENTS = 3


class Timed(Client):
    """A client that notes how long each message took to be answered, and when."""

    def __init__(self, relay, name):
        super().__init__(relay, name)
        self.took = []

    def one(self, smtp):
        begun = time.monotonic()
        super().one(smtp)
        self.took.append((begun, time.monotonic() - begun))


@pytest.mark.slow
def test_under_load_and_back(relay, receive, tmp_path):
    server = receive(answers={"dot": always(later(0.02, b"250 2.0.0 Ok\r\n"))})
    one = relay(provider={"connections": 4})
    one.run("stream", "pause", "transactional")
    clients = [Timed(one, f"c{number}") for number in range(CLIENTS)]
    for client in clients:
        client.start()
    one.wait(lambda: sum(len(client.answered) for client in clients) > 400, "load")
    before = {number: id_ for client in clients for number, id_ in client.answered.items()}
    one.run("stream", "resume", "transactional")  # mail ends, and bodies are deleted, while the copy is made
    begun = time.monotonic()
    done = json.loads(one.run("backup", str(tmp_path / "copy"), "--with-keys", "--json").stdout)
    ended = time.monotonic()
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join(60)
    assert not any(client.refused for client in clients)
    one.idle(120)
    spool = one.home / "data" / "spool"
    one.wait(lambda: [file for file in spool.iterdir() if file.is_file()] == [], "bodies kept for the copy to go")
    delivered = {NUMBER.search(message.data)[1].decode() for message in server.accepted}
    assert set(before) <= delivered

    # the original is gone; its backup becomes the queue of another relay
    other = relay(provider={"connections": 4})
    other.stop()
    for name in ("queue.db", "queue.db-wal", "queue.db-shm", "return-path.key"):
        (other.home / "data" / name).unlink(missing_ok=True)
    assert b"running" not in other.run("restore", str(tmp_path / "copy")).stderr
    refused = other.run("restore", str(tmp_path / "copy"), check=False)
    assert (refused.returncode, b"there is a queue already" in refused.stderr) == (1, True)
    other.start()
    rows = other.waiting()
    in_copy = {row["message"] for row in rows}
    told = done["figures"]
    assert {(row["state"], row["last"].partition(";")[0]) for row in rows} == {("held", "restored")}
    assert len(rows) > 100
    assert len(rows) == told["queued"] + told["held"]
    [event] = other.events("restored")
    assert (event["recipients"], event["from"]) == (len(rows), "relay.shop.test")
    assert other.total("relay_accounting_gap") == 0

    # every id answered before the backup began is in it, or had been delivered by the moment it shows
    ends = {row["message"]: row["time"] for row in one.events("delivered")}
    missing = {id_ for id_ in before.values() if id_ not in in_copy and ends[id_] > done["taken_at"] + 0.1}
    assert missing == set()
    assert told["accepted"] == told["delivered"] + told["queued"] + told["held"]

    already = len(server.accepted)
    assert other.run("queue", "release", "--reason", "nothing*", "--yes", check=False).returncode == 1
    other.run("queue", "release", "--reason", "restored*", "--yes")
    other.idle(120)
    again = numbers(server.accepted[already:])
    by_id = {id_: number for client in clients for number, id_ in client.answered.items()}
    assert sorted(again) == sorted(by_id[id_] for id_ in in_copy)

    during = [took for client in clients for at, took in client.took if begun <= at <= ended]
    apart = [took for client in clients for at, took in client.took if at + took < begun]
    print(f"backup of {told['messages']} messages, {told['bodies']} bodies, {done['bytes'] / 1e6:.1f} MB in"
          f" {done['seconds']:.2f} s; 250 took {milliseconds(apart)} before, {milliseconds(during)} while it was made;"
          f" {len(before)} answered before, {len(missing)} lost")  # fmt: skip


def milliseconds(values):
    return f"{1000 * sorted(values)[len(values) // 2]:.1f} ms (longest {1000 * max(values):.0f})"


def test_a_stopped_relay_is_copied_too_and_a_running_one_is_not_restored_onto(relay, receive, tmp_path):
    one = relay(stream={"retry": {"after": ["1h"], "then": "1h", "expire": "1d"}})
    with one.smtp() as smtp:  # nobody listens there: it stays
        waiting = submit(smtp, SENDER, YOU, b"From: shop@shop.test\r\n\r\nhello\r\n")
    one.wait(lambda: one.events("deferred"), "an attempt")
    refused = one.run("restore", str(tmp_path / "copy"), check=False)
    assert (refused.returncode, b"another relay runs" in refused.stderr) == (1, True)
    one.kill()
    done = one.run("backup", str(tmp_path / "copy"))
    assert b"1 queued" in done.stdout
    assert b"--with-keys" in done.stderr
    again = one.run("backup", str(tmp_path / "copy"), check=False)
    assert (again.returncode, b"is there already" in again.stderr) == (1, True)
    one.start()
    assert [row["message"] for row in one.waiting()] == [waiting]
    one.run("queue", "cancel", waiting, "--yes")
