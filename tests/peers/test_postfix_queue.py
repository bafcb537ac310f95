"""Queue files of a real Postfix: what we read in them is what Postfix reads in them."""

import json

import pytest

from relay.core.postfix import read_queue_file
from tests.peers.postfixqueue import PostfixQueue
from tests.unit.test_core_postfix import queue_file

pytestmark = pytest.mark.peers
YOU = "you@stuck.test"
EIGHT_BIT = b"From: a@shop.test\r\nSubject: eight\r\n\r\n\xe4\xf6\r\n" + b"x" * 900 + b"\r\nno end of line"

PLAIN = b"From: a@shop.test\r\nTo: x@stuck.test\r\nSubject: x\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def old(place, keys):
    server = PostfixQueue(place, keys["t1"])
    ids = {
        "dsn": server.send(
            "a@shop.test", ["x@stuck.test", "y@done.test", "z@stuck.test"],
            b"From: a@shop.test\r\nSubject: hi\r\n\r\nhello\r\n.dot\r\n",
            mail=["RET=HDRS", "ENVID=abc+2B+20x"], rcpt=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;x+2Bq@s.test"],
        ),
        "null": server.send("", ['"odd one"@stuck.test', "b@stuck.test"], EIGHT_BIT, mail=["BODY=8BITMIME"]),
        "held": server.send("hold@shop.test", ["alias@shop.test"], PLAIN, rcpt=["NOTIFY=NEVER"]),
        "utf8": server.send("a@shop.test", ["ü@stuck.test"], PLAIN.replace(b"x", "ü".encode()),
                            mail=["SMTPUTF8", "BODY=8BITMIME"]),
        "long": server.send("a@shop.test", ["c@stuck.test"], PLAIN + b"y" * 5000 + b"\r\n"),
        "signed": server.send("a@signed.test", ["x@stuck.test"], PLAIN.replace(b"shop", b"signed")),
    }  # fmt: skip
    server.settled(*ids.values())
    yield server, ids
    server.stop()


def read(old, name):
    server, ids = old
    path = server.file(ids[name])
    return read_queue_file(path.read_bytes()), path


@pytest.mark.parametrize("name", ["dsn", "null", "held", "utf8", "long", "signed"])
def test_the_content_is_what_postcat_prints(old, name):
    message, path = read(old, name)
    assert message.content.replace(b"\r\n", b"\n") == old[0].postcat(path, "-bh")
    assert b"Received: from app.shop.test" in message.content


def test_envelope_with_dsn_and_a_recipient_that_is_done(old):
    message, _ = read(old, "dsn")
    envelope = message.envelope
    assert (envelope.sender, envelope.ret, envelope.envid) == ("a@shop.test", "HDRS", "abc+2B+20x")
    assert [one.address for one in message.envelope.recipients] == ["x@stuck.test", "z@stuck.test"]
    assert {one.orcpt for one in message.envelope.recipients} == {"rfc822;x+2Bq@s.test"}
    assert {one.notify for one in message.envelope.recipients} == {frozenset({"SUCCESS", "FAILURE"})}
    assert message.done == 1
    assert (message.client, message.helo) == ("127.0.0.1", "app.shop.test")
    assert message.content.endswith(b"\r\n\r\nhello\r\n.dot\r\n")


def test_null_sender_quoted_recipient_and_eight_bits(old):
    message, _ = read(old, "null")
    assert message.envelope.sender == ""
    assert [one.address for one in message.envelope.recipients] == ['"odd one"@stuck.test', "b@stuck.test"]
    assert message.envelope.body == "8BITMIME"
    assert message.content.endswith(EIGHT_BIT.partition(b"\r\n\r\n")[2] + b"\r\n")


def test_an_alias_that_was_expanded_keeps_its_orcpt(old):
    message, path = read(old, "held")
    assert path.parent.name == "hold" or path.parent.parent.name == "hold"
    [one] = message.envelope.recipients
    assert (one.address, one.orcpt, one.notify) == ("real@stuck.test", "rfc822;alias@shop.test", frozenset({"NEVER"}))


def test_smtputf8(old):
    message, _ = read(old, "utf8")
    assert message.envelope.utf8
    assert [one.address for one in message.envelope.recipients] == ["ü@stuck.test"]
    assert not read(old, "dsn")[0].envelope.utf8


def test_what_a_milter_put_in_is_read_where_it_belongs(old):
    message, path = read(old, "signed")
    assert message.content.startswith(b"DKIM-Signature: v=1; a=rsa-sha256;")
    assert b"pointer_record" in old[0].postcat(path, "-v"), "the control: there was a jump"


def imported(relay, old, *options, status=0):
    done = relay.run("queue", "import", str(old[0].spool), "--json", *options, check=False)
    assert done.returncode == status, done.stderr.decode()
    return {row["id"]: row for row in json.loads(done.stdout)["files"]}


def test_taken_over_once_held_and_known_for_good(old, relay):
    server, ids = old
    before = {path: path.read_bytes() for path in map(server.file, ids.values())}
    one = relay(stream={"retry": {"after": ["1m"], "then": "1h", "expire": "1d"}})
    refused = one.run("queue", "import", str(server.spool), check=False)
    assert (refused.returncode, b"stop it first" in refused.stderr) == (1, True)
    server.stop()

    preview = imported(one, old, "--dry-run")
    assert {preview[id_]["outcome"] for id_ in ids.values()} == {"imported"}
    assert one.waiting() == []
    rows = imported(one, old)
    assert {rows[id_]["stream"] for id_ in ids.values()} == {"transactional"}
    assert (rows[ids["dsn"]]["recipients"], rows[ids["dsn"]]["done"]) == (2, 1)
    assert (rows[ids["dsn"]]["signed"], rows[ids["signed"]]["signed"]) == (True, False)
    waiting = one.waiting()
    assert sorted(row["recipient"] for row in waiting) == sorted(
        ["x@stuck.test", "z@stuck.test", '"odd one"@stuck.test', "b@stuck.test", "real@stuck.test", "ü@stuck.test",
         "c@stuck.test", "x@stuck.test"])  # fmt: skip
    assert {row["state"] for row in waiting} == {"held"}
    arrived = read(old, "dsn")[0].arrived_at
    [z] = [row for row in waiting if row["recipient"] == "z@stuck.test"]
    assert z["received_at"] == pytest.approx(arrived, abs=0.01)

    one.stop()
    one.start()  # what was taken over is known for good
    again = imported(one, old, "--release")
    assert {again[id_]["outcome"] for id_ in ids.values()} == {"known"}
    assert again[ids["dsn"]]["message"] == rows[ids["dsn"]]["message"]
    assert len(one.waiting()) == len(waiting)
    assert {path: path.read_bytes() for path in before} == before, "files there are never changed"
    [event] = [row for row in one.events("accepted") if row["message"] == rows[ids["dsn"]]["message"]]
    assert event["origin"].startswith(f"postfix {ids['dsn']} ")
    one.run("queue", "cancel", "--all", "--yes")


def test_release_sends_at_once_but_for_what_postfix_held(old, relay, receive):
    ids = old[1]
    receiver = receive(11)
    one = relay(delivery={"mode": "smarthost", "host": f"{receiver.address}:{receiver.port}", "tls": "never"})
    rows = imported(one, old, "--release")
    assert [rows[id_]["held"] for id_ in ids.values()] == [name == "held" for name in ids]
    one.ends(rows[ids["null"]]["message"], 2)
    one.ends(rows[ids["dsn"]]["message"], 2)
    [null] = [message for message in receiver.accepted if b"Subject: eight" in message.data]
    assert null.data.endswith(read(old, "null")[0].content), "byte for byte, with our fields on top"
    [dsn] = [message for message in receiver.accepted if b"Subject: hi" in message.data]
    assert "ENVID=abc+2B+20x" in dsn.mail
    assert all("ORCPT=rfc822;x+2Bq@s.test" in rcpt and "NOTIFY=" in rcpt for rcpt in dsn.rcpts)
    assert dsn.data.startswith(b"DKIM-Signature: ")
    one.run("queue", "release", "--reason", "imported*", "--yes")
    one.idle()
    assert len({tuple(message.recipients) for message in receiver.accepted}) == 6


def test_what_the_policies_refuse_is_listed_and_left(old, relay):
    routes = [{"name": "no", "when": {"sender": "a@shop.test"}, "refuse": "550 5.7.1 not from here"},
              {"name": "everything", "stream": "transactional"}]  # fmt: skip
    one = relay(policy={"routes": routes})
    rows = imported(one, old, status=1)
    assert (rows[old[1]["dsn"]]["outcome"], "not from here" in rows[old[1]["dsn"]]["why"]) == ("refused", True)
    assert rows[old[1]["held"]]["outcome"] == "imported"
    one.run("queue", "cancel", "--all", "--yes")


def test_rubbish_is_listed_and_no_queue_is_said(relay, tmp_path):
    one = relay()
    (tmp_path / "deferred" / "A").mkdir(parents=True)
    (tmp_path / "deferred" / "A" / "ABCDEF0123").write_bytes(b"C\xff\xff\xff\xff\xff")
    (tmp_path / "deferred" / "A" / "ABCDEF0124").symlink_to("/etc/passwd")
    (tmp_path / "deferred" / "A" / "ABCDEF0125").write_bytes(queue_file(("A", f"envelope_id={'x' * 2000}"), ("R", YOU)))
    (tmp_path / "deferred" / "A" / "ABCDEF0126").write_bytes(queue_file(("R", YOU)))
    done = one.run("queue", "import", str(tmp_path), check=False)
    assert (done.returncode, b"1 imported, 1 refused, 1 unreadable" in done.stdout) == (1, True), done
    one.run("queue", "cancel", "--all", "--yes")
    assert one.run("queue", "import", str(tmp_path / "deferred"), check=False).returncode == 2
