"""The control API on its real Unix socket, asked by the real command line; health over real TCP."""

import asyncio
import http.client
import json
import socket
import stat
import threading
import time
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest

from relay.cli.app import run_app
from relay.cli.control import Control
from relay.cli.failure import Failed
from relay.queue.problems import problem
from relay.queue.sqlite import SqliteStore
from relay.queue.store import Filter, Row, StoreBusy, StoreFull
from relay.service.lock import data_lock
from relay.web.control import bind_socket, serve_control
from relay.web.filters import BadFilter
from relay.web.health import serve_health, split_bind
from relay.web.operator import Explanation

NOW = time.time()
CONFIG = """
hostname: relay.example.com
data: .
policies: policies
listeners:
  apps: {bind: "127.0.0.1:2525", networks: [127.0.0.0/8]}
"""


def row(message, recipient, stream="transactional", state="queued", last=""):
    return Row(message, 0, recipient, "shop@example.com", stream, "all", state, NOW - 7200, NOW + 60, 2, 4096, last)


class Desk:
    """A relay of three messages that keeps its word: what is cancelled is gone, what is held is held."""

    def __init__(self):
        self.rows = [
            row("m1", "a@slow.example", last="451 4.7.1 try \x1b[31mlater"),
            row("m2", "b@slow.example", "marketing"),
            row("m3", "c@fast.example", state="held"),
        ]
        self.asked = []
        self.trouble = None
        self.problems, self.notes = [], []
        self.ready = ""
        self.exceptions = []

    def _matches(self, one, which):
        return all((
            which.message in (None, one.message),
            which.stream in (None, one.stream),
            which.state in (None, one.state),
            which.domain is None or fnmatchcase(one.recipient.partition("@")[2], which.domain),
            which.older_than_s is None or NOW - one.received_at > which.older_than_s,
        ))  # fmt: skip

    def _change(self, which, state):
        if self.trouble:
            raise self.trouble
        self.asked.append(which)
        chosen = [one for one in self.rows if self._matches(one, which)]
        self.rows = [one for one in self.rows if one not in chosen]
        if state:
            self.rows += [replace(one, state=state) for one in chosen]
        return len(chosen)

    async def find(self, which, limit):
        if self.trouble:
            raise self.trouble
        self.asked.append(which)
        return [one for one in self.rows if self._matches(one, which)][:limit]

    async def show(self, message):
        rows = [one for one in self.rows if one.message == message]
        if not rows:
            return None
        attempt = {"time": NOW, "recipient": rows[0].recipient, "verdict": "deferred", "text": "451 later"}
        return {
            "message": message, "stream": rows[0].stream, "sender": "", "received_at": NOW - 7200, "size": 4096,
            "header": "Subject: hi\r\n\tthere\r\n", "attempts": [attempt],
            "rows": [{"message": message, "recipient": rows[0].recipient, "state": rows[0].state, "attempts": 2,
                      "received_at": NOW, "due_at": NOW, "last": "", "stream": rows[0].stream}],
        }  # fmt: skip

    async def hold(self, which):
        return self._change(which, "held")

    async def release(self, which):
        return self._change(which, "queued")

    retry = release

    async def cancel(self, which):
        return self._change(which, "")

    async def confirm(self, which):
        return self._change(which, "")

    async def check(self, *, full):
        return {"accepted": 4, "ends": {"delivered": 1}, "queued": 2, "held": 1, "lost": 0, "gap": 0, "messages": 3,
                "notes": ["a note"], "full": full, "unclean": False, "seconds": 0.1,
                "problems": [one._asdict() for one in self.exceptions]}  # fmt: skip

    async def explain(self, what):
        if what != "slow.example":
            return None
        return Explanation(
            what,
            "5 of 5 connections are in use",
            "providers.yaml:60",
            time.time() + 299,
            ("mx1.slow.example",),
        )

    async def streams(self):
        return [{"name": "transactional", "queued": 1, "held": 1, "oldest_s": 7200.0, "pool": "p",
                 "objective": "99.9% within 10 s", "met": 0.9995, "where": "streams.yaml:9"}]  # fmt: skip

    async def sandbox_list(self):
        one = await self.sandbox_show("s1")
        del one["source"]
        return [one]

    async def sandbox_show(self, caught):
        if caught != "s1":
            return None
        return {"id": "s1", "message": "m9", "received_at": NOW, "stream": "transactional", "sender": "a@example.com",
                "recipients": ["you@example.com"], "subject": "Hi", "dkim": "pass; pass", "delay_s": 0.012,
                "size": 600, "source": "DKIM-Signature: v=1;\r\n\ta=rsa-sha256\r\n\r\nhello\r\n"}  # fmt: skip

    async def begin_copy(self):
        return "l1", 60.0

    async def renew_copy(self, lease):
        return lease == "l1"

    async def end_copy(self, lease):
        return lease == "l1"

    async def import_mail(self, head, content):
        if "origin" not in head:
            raise BadFilter("origin is missing")
        return {"outcome": "imported", "content": b"".join([chunk async for chunk in content]).decode()}

    async def reload(self):
        return {"problems": self.problems, "notes": self.notes}

    async def status(self):
        return {"version": "0.1.0", "hostname": "relay.example.com", "pid": 1, "started_at": NOW - 60,
                "ready": self.ready, "delivery": "mx", "accepted": 4, "queued": 2, "held": 1,
                "listeners": [{"name": "apps", "bind": "127.0.0.1:2525", "connections": 0}],
                "ends": {"delivered": 1}, "gap": 0, "policies_loaded_at": NOW, "reload_problems": []}  # fmt: skip


@pytest.fixture
def loop():
    """An event loop in a thread of its own, as the CLI is another process than the relay."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def within(loop, coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)


@pytest.fixture
def desk(loop, tmp_path, monkeypatch):
    (tmp_path / "relay.yaml").write_text(CONFIG)
    monkeypatch.setenv("RELAY_CONFIG", str(tmp_path / "relay.yaml"))
    desk = Desk()
    server = within(loop, serve_control(desk, tmp_path / "control.sock"))
    yield desk
    within(loop, server.close())


def relay(capsys, line):
    code = run_app(line.split())
    said = capsys.readouterr()
    return code, said.out + said.err


def test_list(desk, capsys):
    code, text = relay(capsys, "queue list")
    assert code == 0
    lines = text.splitlines()
    assert lines[0].split() == [
        "ID",
        "STATE",
        "STREAM",
        "RECIPIENT",
        "AGE",
        "NEXT",
        "TRIES",
        "LAST",
        "ANSWER",
    ]
    assert "2h" in lines[1]
    assert "\x1b" not in text
    assert desk.asked == [Filter()]


def test_list_filtered(desk, capsys):
    code, text = relay(capsys, "queue list --domain slow.* --stream marketing --older-than 1h --state queued --json")
    assert code == 0
    assert [one["message"] for one in json.loads(text)["rows"]] == ["m2"]
    assert desk.asked == [Filter(stream="marketing", domain="slow.*", state="queued", older_than_s=3600.0)]


def test_list_says_when_there_is_more(desk, capsys):
    _, text = relay(capsys, "queue list --limit 2")
    assert "more than 2" in text
    _, text = relay(capsys, "queue list m1 m2 m3 --limit 2 --json")
    assert json.loads(text)["more"] is True
    _, text = relay(capsys, "queue list --state held")
    assert "more than" not in text


def test_show(desk, capsys):
    code, text = relay(capsys, "queue show m1")
    assert code == 0
    assert "<> (null sender)" in text
    assert "451 later" in text
    assert "Subject: hi\n    there" in text


def test_show_what_has_ended(desk, capsys):
    code, text = relay(capsys, "queue show nothing/../x")
    assert code == 1
    assert "relay events export --message" in text


def test_hold_by_id_needs_no_question(desk, capsys):
    assert relay(capsys, "queue hold m1 m2") == (0, "hold: 2 recipients changed\n")
    assert {one.state for one in desk.rows} == {"held"}


def test_cancel_asks_and_without_a_terminal_wants_yes(desk, capsys):
    code, text = relay(capsys, "queue cancel m1")
    assert code == 2
    assert "--yes" in text
    assert len(desk.rows) == 3
    assert relay(capsys, "queue cancel m1 --yes") == (0, "cancel: 1 recipient changed\n")
    assert len(desk.rows) == 2


def test_to_say_that_it_arrived_asks_like_cancel(desk, capsys):
    assert relay(capsys, "queue delivered m1")[0] == 2
    assert len(desk.rows) == 3
    assert relay(capsys, "queue delivered m1 --yes") == (0, "delivered: 1 recipient changed\n")


def test_a_check_of_the_running_relay(desk, capsys):
    code, text = relay(capsys, "queue check")
    assert code == 0
    assert "of the running relay" in text
    assert "note: a note" in text
    assert text.endswith("nothing is wrong\n")
    desk.exceptions = [problem("due", "m1", "due in {year}", year=9999)]
    code, text = relay(capsys, "queue check --quick")
    assert code == 1
    assert "message m1: due in 9999\n    remedy: relay queue retry m1" in text
    assert "1 problems" in text
    code, text = relay(capsys, "queue check --quick --json")
    assert (code, json.loads(text)["live"], json.loads(text)["full"]) == (1, True, False)


def test_a_check_of_a_stopped_queue(tmp_path, monkeypatch, capsys):
    (tmp_path / "relay.yaml").write_text(CONFIG.replace("data: .", f"data: {tmp_path}"))
    monkeypatch.setenv("RELAY_CONFIG", str(tmp_path / "relay.yaml"))
    code, text = relay(capsys, "queue check")
    assert (code, f"there is no queue at {tmp_path}/queue.db" in text) == (1, True)

    async def made():
        store = await SqliteStore.open(
            tmp_path / "queue.db", tmp_path / "spool", stored=lambda *_: None, committed=lambda *_: None
        )
        await store.close()

    asyncio.run(made())
    code, text = relay(capsys, "queue check --json")
    found = json.loads(text)
    assert (code, found["live"], found["full"], found["accepted"]) == (0, False, True, 0)
    with data_lock(tmp_path):
        code, text = relay(capsys, "queue check")
    assert code == 1
    assert f"another process holds {tmp_path}" in text


@pytest.mark.parametrize(("answer", "left"), [("y", 1), ("n", 3), ("", 3)])
def test_cancel_on_a_terminal_shows_what_and_asks(desk, capsys, monkeypatch, answer, left):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    code, text = relay(capsys, "queue cancel --domain slow.example")
    assert "a@slow.example" in text
    assert code == (0 if left == 1 else 1)
    assert len(desk.rows) == left


def test_a_filter_that_means_everything_must_be_said(desk, capsys):
    assert relay(capsys, "queue release --yes")[0] == 2
    assert relay(capsys, "queue release --all --yes --json")[0] == 0


def test_nothing_changed_is_a_failure(desk, capsys):
    code, text = relay(capsys, "queue retry --domain none.example --yes")
    assert (code, text) == (1, "retry: 0 recipients changed\n")


def test_explain(desk, capsys):
    code, text = relay(capsys, "explain slow.example")
    assert code == 0
    assert "why    5 of 5 connections" in text
    assert "rule   providers.yaml:60" in text
    assert "(in 4m " in text
    code, text = relay(capsys, "explain unknown.example")
    assert code == 1
    assert "nothing is known of unknown.example" in text


def test_streams(desk, capsys):
    code, text = relay(capsys, "stream list")
    assert code == 0
    assert "99.950%" in text
    assert "streams.yaml:9" in text


def test_sandbox(desk, capsys):
    code, text = relay(capsys, "sandbox list")
    assert code == 0
    assert "pass; pass" in text
    code, text = relay(capsys, "sandbox show s1")
    assert code == 0
    assert "\n    a=rsa-sha256\n\nhello" in text
    assert relay(capsys, "sandbox show s2")[0] == 1


def test_status(desk, capsys):
    code, text = relay(capsys, "status")
    assert code == 0
    assert "apps" in text
    desk.ready = "the disk is full"
    code, text = relay(capsys, "status")
    assert code == 1
    assert "the disk is full" in text


def test_reload(desk, capsys):
    assert relay(capsys, "reload") == (0, "reloaded\n")
    desk.notes = ["needs a restart: listeners.smtps.bind"]
    assert relay(capsys, "reload") == (0, "reloaded\nneeds a restart: listeners.smtps.bind\n")
    desk.problems = ["routes.yaml:3:5: there is no stream `x`"]
    code, text = relay(capsys, "reload")
    assert code == 1
    assert "routes.yaml:3:5" in text


@pytest.mark.parametrize(("trouble", "said"), [(StoreBusy(), "busy"), (StoreFull(), "cannot be changed now")])
def test_trouble_with_the_queue(desk, capsys, trouble, said):
    desk.trouble = trouble
    code, text = relay(capsys, "queue hold m1")
    assert code == 1
    assert said in text


def test_a_fault_of_ours_tells_nothing_of_its_insides(desk, capsys, caplog):
    desk.trouble = RuntimeError("secret")
    code, text = relay(capsys, "queue list")
    assert code == 1
    assert "secret" not in text
    assert "secret" in caplog.text


def request(tmp_path, method, target, body=None, headers=None):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "control.sock"))
        connection = http.client.HTTPConnection("relay")
        connection.sock = sock
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "said"),
    [
        ("GET", "/api/v1/queue?strem=x", None, 400, "did you mean 'stream'"),
        ("GET", "/api/v1/queue?stream=x&stream=y", None, 400, "given twice"),
        ("GET", "/api/v1/queue?limit=0", None, 400, "whole number"),
        ("GET", "/api/v1/queue?limit=99999999999999999999", None, 400, "whole number"),
        ("GET", "/api/v1/queue?older_than_s=-1", None, 400, "seconds"),
        ("GET", "/api/v1/status?x=1", None, 400, "takes no 'x'"),
        ("GET", "/api/v1/explain", None, 400, "?of="),
        ("GET", "/api/v1/nothing", None, 404, "Not Found"),
        ("DELETE", "/api/v1/queue", None, 405, "Method Not Allowed"),
        ("POST", "/api/v1/queue/cancel", "{}", 400, "whole queue"),
        ("POST", "/api/v1/queue/cancel", '{"all": false}', 400, "whole queue"),
        ("POST", "/api/v1/queue/cancel", '{"all": 1}', 400, "whole queue"),
        ("POST", "/api/v1/queue/cancel", "[]", 400, "one JSON object"),
        ("POST", "/api/v1/queue/cancel", "{", 400, "not JSON"),
        ("POST", "/api/v1/queue/cancel", b"\xff\xfe{", 400, "not JSON"),
        ("POST", "/api/v1/queue/cancel", '{"domain": ["x"]}', 400, "wants a text"),
        ("POST", "/api/v1/queue/cancl", '{"domain": "x"}', 404, "did you mean 'cancel'"),
        ("POST", "/api/v1/queue/cancel", "[" * 60000, 400, "not JSON"),
        ("POST", "/api/v1/queue/cancel", " " * 70000, 413, "bytes"),
    ],
)
def test_wrong_requests(desk, tmp_path, method, target, body, status, said):
    answered, answer = request(tmp_path, method, target, body)
    assert answered == status
    assert said in answer["error"]["message"]
    assert len(desk.rows) == 3


def test_leases_of_a_copy(desk, tmp_path):
    assert request(tmp_path, "POST", "/api/v1/copies", "{}") == (200, {"lease": "l1", "for_s": 60.0})
    assert request(tmp_path, "POST", "/api/v1/copies/l1/renew", "{}") == (200, {})
    assert request(tmp_path, "POST", "/api/v1/copies/l1/end", "{}") == (200, {})
    status, answer = request(tmp_path, "POST", "/api/v1/copies/gone/renew", "{}")
    assert (status, "Run it again" in answer["error"]["message"]) == (404, True)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [("", 400, "no JSON"), ("{}\n", 400, "origin is missing"), ("[]\nx", 400, "one JSON object"),
     ("[" * 9999, 400, "no JSON"), ('{"origin": "x"}\nFrom: a\r\n.\r\n', 200, "imported")],
)  # fmt: skip
def test_mail_taken_over(desk, tmp_path, body, status, said):
    answered, answer = request(tmp_path, "POST", "/api/v1/import", body)
    assert (answered, said in json.dumps(answer)) == (status, True)


def test_only_owner_and_group_may_ask(desk, tmp_path):
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o660


def test_a_second_relay_does_not_take_the_socket_away(desk, tmp_path, capsys):
    with pytest.raises(OSError, match="another relay is running"):
        bind_socket(tmp_path / "control.sock")
    assert relay(capsys, "reload")[0] == 0


def test_a_dead_relays_socket_is_replaced(tmp_path):
    path = tmp_path / "control.sock"
    bind_socket(path).close()
    bind_socket(path).close()
    with pytest.raises(Failed, match="nothing answers"):
        Control(path).get("status")


def test_the_socket_is_taken_away_but_not_a_successors(loop, tmp_path):
    path = tmp_path / "control.sock"
    server = within(loop, serve_control(Desk(), path))
    path.unlink()
    successor = bind_socket(path)
    within(loop, server.close())
    assert path.exists()
    successor.close()


def test_a_path_too_long_for_a_socket_is_said(tmp_path):
    with pytest.raises(OSError, match="107; set control"):
        bind_socket(tmp_path / ("x" * 100) / "control.sock")


@pytest.fixture
def health(loop):
    state = {"reason": "", "metrics": b"relay_up 1\n"}

    async def later():
        return state["metrics"]

    servers = [
        within(loop, serve_health("127.0.0.1:0", lambda: state["reason"], lambda: state["metrics"])),
        within(loop, serve_health("[::1]:0", lambda: state["reason"], later)),
    ]
    yield state, [server.address for server in servers]
    for server in servers:
        within(loop, server.close())


def fetch(address, path):
    connection = http.client.HTTPConnection(*address[:2], timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    answer = response.status, response.headers["Content-Type"], response.read()
    connection.close()
    return answer


def test_health(health):
    state, addresses = health
    for address in addresses:
        assert fetch(address, "/healthz")[::2] == (200, b"ok\n")
        state["reason"] = ""
        assert fetch(address, "/readyz")[::2] == (200, b"ready\n")
        state["reason"] = "the disk is full"
        assert fetch(address, "/readyz")[::2] == (503, b"the disk is full\n")
        status, kind, body = fetch(address, "/metrics")
        assert (status, body) == (200, b"relay_up 1\n")
        assert kind.startswith("text/plain; version=")
        assert fetch(address, "/api/v1/status")[0] == 404


def test_an_address_that_is_taken(loop, health):
    _, [address, _] = health
    with pytest.raises(OSError, match="in use"):
        within(loop, serve_health(f"{address[0]}:{address[1]}", str, bytes))


@pytest.mark.parametrize("bind", ["9125", "127.0.0.1:", ":9125", "127.0.0.1:x", "127.0.0.1:99999"])
def test_no_address_to_listen_on(bind):
    with pytest.raises(ValueError, match="no address"):
        split_bind(bind)
