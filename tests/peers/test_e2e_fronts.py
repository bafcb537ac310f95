"""Fronts and engine as processes: who dies is started again, and what is counted is counted once for all of them."""

import contextlib
import json
import os
import re
import signal
import smtplib
import socket
import struct
import sys
import threading

import pytest

from tests.faults.load import Client, numbers
from tests.peers.place import Program, free_port, wait_for
from tests.peers.relay import ROOT, submit

pytestmark = pytest.mark.peers
FRONTS = 2
SENDER, YOU = "shop@shop.test", "you@r10.receivers.test"
HELLO = b"From: shop@shop.test\r\nSubject: x\r\n\r\nhello\r\n"


def status(one):
    """What `relay status --json` prints, asked of the control socket."""
    with socket.socket(socket.AF_UNIX) as plug:
        plug.settimeout(30)
        plug.connect(str(one.home / "data" / "control.sock"))
        plug.sendall(b"GET /api/v1/status HTTP/1.0\r\nHost: relay\r\n\r\n")
        with plug.makefile("rb") as answer:
            return json.loads(answer.read().partition(b"\r\n\r\n")[2])


def engine(one):
    """The child of the process we started that is no front."""
    children = f"/proc/{one.program.process.pid}/task/{one.program.process.pid}/children"
    with open(children) as file:
        pids = {int(pid) for pid in file.read().split()}
    [pid] = pids - {front["pid"] for front in status(one)["fronts"]}
    return pid


@pytest.fixture
def opened():
    """Connections that are closed after the test."""
    with contextlib.ExitStack() as stack:
        def connect(one):
            smtp = one.smtp()
            stack.callback(smtp.close)
            return smtp

        yield connect


def all_alive(one):
    return one.ready() and all(front["takes_mail"] for front in status(one)["fronts"])


def crowd(one, number):
    """Clients that send until they are stopped."""
    clients = [Client(one, f"c{count}") for count in range(number)]
    for client in clients:
        client.start()
    one.wait(lambda: sum(len(client.answered) for client in clients) > 10 * number, "load")
    return clients


def stopped(clients):
    """Every number that was answered 250."""
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join(60)
    assert all(set(client.refused) <= {"451 4.3.0"} for client in clients)
    return {number for client in clients for number in client.answered}


def test_two_fronts_take_turns_and_count_together(relay, receive, opened):
    receive()
    one = relay(config={"workers": FRONTS})
    with one.smtp() as smtp:
        for _ in range(5):
            submit(smtp, SENDER, YOU, HELLO)
    refused, both = 0, set()
    while len(both) < FRONTS or refused < 10:  # until each front has refused somebody
        smtp = opened(one)
        assert smtp.docmd("RCPT", "TO:<x@y.example>")[0] == 503
        refused += 1
        both |= {front["number"] for front in status(one)["fronts"] if front["connections"]}
        assert refused < 90, both
    one.wait(lambda: one.total("relay_refused_messages_total", 'reason="hello-first"') == refused, "every refusal")
    assert one.total("relay_accepted_messages_total") == 5
    assert one.total("relay_fronts") == FRONTS
    one.idle()
    names = [row["event"] for row in one.events() if row.get("message")]
    assert names.index("accepted") < names.index("delivered")
    one.wait(lambda: len(one.events("refused")) == refused, "every refusal in the event log")


def test_limits_are_not_multiplied_by_fronts(relay, opened):
    one = relay(
        config={"workers": FRONTS}, listener={"max_connections_per_client": 6, "daily": 5},
        delivery={"mode": "smarthost", "host": f"127.0.0.1:{free_port()}", "allow_targets": []},
    )  # fmt: skip
    inside = [opened(one) for _ in range(6)]
    for _ in range(4):
        with pytest.raises(smtplib.SMTPConnectError, match="too many connections from"):
            one.smtp()
    assert sum(front["connections"] for front in status(one)["fronts"]) == 6
    answers = []
    for smtp in inside * 2:
        smtp.ehlo_or_helo_if_needed()
        smtp.mail(SENDER)
        smtp.rcpt(YOU)
        answers.append(smtp.data(HELLO)[0])
    assert answers == [250] * 5 + [452] * 7
    inside.pop().quit()
    one.wait(lambda: one.total("relay_connections", 'direction="in"') == 5, "one has left")
    opened(one)


def test_a_front_that_is_killed_costs_its_connections_and_nothing_else(relay, receive):
    server = receive()
    one = relay(config={"workers": FRONTS})
    clients = crowd(one, 6)
    accepted = one.total("relay_accepted_messages_total")
    victim = status(one)["fronts"][0]
    os.kill(victim["pid"], signal.SIGKILL)
    one.wait(lambda: all_alive(one) and status(one)["fronts"][0]["pid"] != victim["pid"], "a new front", 20)
    assert one.total("relay_accepted_messages_total") >= accepted
    assert one.total("relay_process_restarts_total", 'process="front 1"') == 1
    before = sum(len(client.answered) for client in clients)
    one.wait(lambda: sum(len(client.answered) for client in clients) > before + 20, "mail goes on")
    answered = stopped(clients)
    one.idle(60)
    assert answered <= set(numbers(server.accepted))
    assert one.total("relay_connections", 'direction="in"') == 0
    assert one.waiting() == []


def test_while_the_engine_is_away_clients_hear_451_and_nothing_is_lost(relay, receive, opened):
    server = receive()
    one = relay(config={"workers": FRONTS})
    fronts = [front["pid"] for front in status(one)["fronts"]]
    smtp = opened(one)  # outlives the engine
    first = submit(smtp, SENDER, YOU, HELLO)
    clients = crowd(one, 4)
    pid = engine(one)
    os.kill(pid, signal.SIGSTOP)  # it answers nobody, and is killed while a message waits for its answer
    refusals = []

    def send():
        try:
            smtp.sendmail(SENDER, YOU, HELLO)
        except smtplib.SMTPDataError as refused:
            refusals.append((refused.smtp_code, refused.smtp_error))

    waiting = threading.Thread(target=send)
    waiting.start()
    wait_for(lambda: status_of(pid) == "T", "the engine stands still")
    waiting.join(0.5)
    os.kill(pid, signal.SIGKILL)
    waiting.join(30)
    assert refusals
    assert refusals[0][0] == 451
    assert refusals[0][1].startswith(b"4.3.0")
    one.wait(lambda: all_alive(one), "the engine is back", 20)
    assert [front["pid"] for front in status(one)["fronts"]] == fronts
    assert engine(one) != pid
    second = submit(smtp, SENDER, YOU, HELLO)
    answered = stopped(clients)
    one.idle(60)
    delivered = b"".join(message.data for message in server.accepted)
    assert all(re.search(rb"\b%b\b" % number.encode(), delivered) for number in (first, second))
    assert answered <= set(numbers_there(server.accepted))


def numbers_there(messages):
    return numbers([message for message in messages if b"X-Number:" in message.data])


def status_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_a_reload_is_in_force_at_every_front_when_it_has_answered(relay, opened):
    one = relay(config={"workers": FRONTS})
    kept = [opened(one) for _ in range(8)]
    policies = one.home / "policies" / "all.yaml"
    text = policies.read_text()
    for round_ in range(3):
        refusing = text.replace(
            "routes:", f"routes:\n- name: closed\n  when: {{sender: '*'}}\n  refuse: 'closed {round_}'"
        )
        policies.write_text(refusing)
        one.run("reload")
        for smtp in kept:
            smtp.ehlo_or_helo_if_needed()
            smtp.mail(SENDER)
            smtp.rcpt(YOU)
            code, words = smtp.data(HELLO)
            assert (code, words.decode().partition(" ")[2]) == (550, f"closed {round_}")
    policies.write_text("nonsense: [")
    assert one.run("reload", check=False).returncode == 1
    victim = status(one)["fronts"][1]["pid"]
    os.kill(victim, signal.SIGKILL)  # its successor has the rules in force, not those on the disk
    one.wait(lambda: all_alive(one) and status(one)["fronts"][1]["pid"] != victim, "a new front", 20)
    for _ in range(8):
        with one.smtp() as smtp, pytest.raises(smtplib.SMTPDataError, match="closed 2"):
            smtp.sendmail(SENDER, YOU, HELLO)


def test_a_stop_finishes_the_message_under_way_and_sends_the_idle_away(relay, receive, opened):
    receive()
    one = relay(config={"workers": FRONTS})
    idle, busy = opened(one), opened(one)
    for smtp in (idle, busy):
        smtp.ehlo_or_helo_if_needed()
    busy.mail(SENDER)
    busy.rcpt(YOU)
    assert busy.docmd("DATA")[0] == 354
    one.program.process.terminate()
    assert idle.getreply()[0] == 421
    busy.send(HELLO + b".\r\n")
    assert busy.getreply()[0] == 250
    assert one.program.process.wait(30) == 0
    one.program = None
    one.start()
    one.idle()


def test_systemd_hears_of_the_main_process_alone_and_its_sockets_serve_every_front(relay, receive):
    """sd_listen_fds(3) and sd_notify(3), as systemd does it with `NotifyAccess=main`."""
    receive()
    one = relay(config={"workers": FRONTS})
    one.stop()
    told = one.home / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, socket.create_server(
        ("127.0.0.1", one.smtp_port), backlog=50
    ) as handed:
        notify.bind(str(told))
        notify.settimeout(30)
        notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        script = f"exec 3<&{handed.fileno()}; LISTEN_PID=$$ exec {sys.executable} -m relay serve --config {one.config}"
        environment = {
            **one.environment(), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "apps", "NOTIFY_SOCKET": str(told),
            "WATCHDOG_USEC": "400000",
        }  # fmt: skip
        one.program = Program(
            ["/bin/bash", "-c", script], one.home / "log", cwd=ROOT, env=environment, pass_fds=[handed.fileno()]
        )
        heard, senders = heard_until(notify, "WATCHDOG=1")
        assert "READY=1" in heard
        with one.smtp() as smtp:
            submit(smtp, SENDER, YOU, HELLO)
        assert senders == {one.program.process.pid}
        one.program.process.send_signal(signal.SIGHUP)
        more, _ = heard_until(notify, "READY=1")
        assert "RELOADING=1" in more
        one.stop()
        heard_until(notify, "STOPPING=1")
        assert not [line for line in heard + more if line.startswith("X_")]


def heard_until(notify, wanted):
    """Every line up to the wanted one, and the pids that said them."""
    lines, senders = [], set()
    while wanted not in lines:
        data, [(_, _, credentials)], *_ = notify.recvmsg(4096, socket.CMSG_SPACE(12))
        lines += data.decode().split("\n")
        senders.add(struct.unpack("3i", credentials)[0])
    return lines, senders
