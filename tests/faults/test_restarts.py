"""Fault 14: restarts under load while somebody else holds the listening socket, as systemd does (sd_listen_fds(3)).

2 restarts in the suite, 50 with RELAY_FAULTS=long, of one process and of fronts with their engine. Clients connect and
send all the while, on kept connections and on new ones. Passes when no connection is refused or cut, every message that
was begun is answered 250 or 421, whatever was answered 250 is delivered, and each relay ends with status 0.
"""

import contextlib
import random
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.faults.form import FRONTS, rounds, within, workers
from tests.peers.place import Place, Program, free_port, wait_for
from tests.peers.receiver import Receiver
from tests.peers.relay import ROOT, Relay

ROUNDS = rounds(2, 50)
SENDER, YOU = "shop@shop.test", "you@site.test"
HEAD = "From: shop@shop.test\r\nTo: you@site.test\r\nSubject: x\r\nX-Number: {}\r\n\r\n"

BECOME = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class NoNames:
    """No name server is asked: mail leaves through a smarthost."""

    server = "127.0.0.1:9"


class Held(Relay):
    """A relay whose listening socket lives in this process, as under systemd's socket units."""

    def hold(self):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", self.smtp_port))
        self.socket.listen(4096)
        return self

    def start(self):
        """The process puts the descriptor at number 3 and its own pid beside it, then becomes the relay."""
        command = [sys.executable, "-c", BECOME, str(self.socket.fileno()), sys.executable, "-m", "relay", "serve",
                   "--config", str(self.config)]  # fmt: skip
        environment = {**self.environment(), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "apps"}
        self.program = Program(command, self.home / "log", cwd=ROOT, env=environment, pass_fds=[self.socket.fileno()])
        return self


class Client(threading.Thread):
    """Sends numbered messages until told to stop, on kept connections or one a message."""

    def __init__(self, port, name, *, keep):
        super().__init__(daemon=True)
        self.port, self.label, self.keep = port, name, keep
        self.sent, self.turned_away = 0, 0
        self.answered, self.refused, self.strange = set(), [], []
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            try:
                self.session()
            except (ConnectionError, smtplib.SMTPServerDisconnected) as error:
                self.refused.append(repr(error))
            except AssertionError as error:
                self.strange.append(error)
                return

    def session(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        with connection, connection.makefile("rb") as replies:
            try:
                self.expect(replies, b"220")
                self.say(connection, replies, b"EHLO app.shop.test\r\n", b"250")
                while not self.stopping.is_set():
                    self.one(connection, replies)
                    if not self.keep:
                        break
                self.say(connection, replies, b"QUIT\r\n", b"221")
            except TurnedAway:
                self.turned_away += 1

    def one(self, connection, replies):
        self.sent += 1
        number = f"{self.label}.{self.sent}"
        self.say(connection, replies, b"MAIL FROM:<%s>\r\n" % SENDER.encode(), b"250")
        self.say(connection, replies, b"RCPT TO:<%s>\r\n" % YOU.encode(), b"250")
        self.say(connection, replies, b"DATA\r\n", b"354")
        head, rest = HEAD.format(number).encode(), (b"y" * 70 + b"\r\n") * 40 + b".\r\n"
        connection.sendall(head)
        time.sleep(random.uniform(0, 0.02))  # a SIGTERM may come now: the message is finished all the same
        self.say(connection, replies, rest, b"250")
        self.answered.add(number)

    def say(self, connection, replies, line, wanted):
        try:
            connection.sendall(line)
        except (BrokenPipeError, ConnectionResetError):  # a 421 may have come while we were about to speak
            self.expect(replies, wanted)
            raise
        self.expect(replies, wanted)

    @staticmethod
    def expect(replies, wanted):
        while (line := replies.readline())[3:4] == b"-":
            pass
        if line.startswith(b"421"):
            raise TurnedAway
        if not line:
            raise smtplib.SMTPServerDisconnected("closed without a word")
        assert line.startswith(wanted), line


class TurnedAway(Exception):
    """421: the relay is going down; try again."""


@pytest.fixture
def room():
    """Ports and folders of this test's own."""
    own = Place()
    yield own
    own.close()


@pytest.fixture
def workers_of(request):
    """The form a test asks for; one process where it does not say."""
    return request.node.callspec.params.get("workers", 0) if hasattr(request.node, "callspec") else 0


@pytest.fixture
def held(room, workers_of):
    receiver = Receiver("127.0.0.1", free_port())
    leaving = {"mode": "smarthost", "host": f"127.0.0.1:{receiver.port}", "tls": "never"}
    one = Held(room, NoNames(), {}, delivery=leaving, config={"workers": workers_of}).hold()
    yield one.start(), receiver
    if one.program is not None and one.program.process.poll() is None:
        one.program.stop()
    one.socket.close()
    receiver.stop()


def takes_mail(one):
    """When the next connection is greeted: it waits in the backlog until then."""
    with socket.create_connection(("127.0.0.1", one.smtp_port)) as waiting:
        waiting.setblocking(False)

        def greeted():
            with contextlib.suppress(BlockingIOError):
                return waiting.recv(100)

        assert one.program.wait_until(greeted, "a greeting").startswith(b"220")
        at = time.monotonic()
        waiting.setblocking(True)
        waiting.sendall(b"QUIT\r\n")
        while waiting.recv(100):
            pass
    return at


@workers(short=True)
@pytest.mark.slow
@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_restarts_refuse_nobody_and_lose_nothing(held, record_property, workers):
    one, receiver = held
    takes_mail(one)
    clients = [Client(one.smtp_port, f"c{number}", keep=number % 2 == 0) for number in range(4)]
    for client in clients:
        client.start()
    begun, gaps = time.monotonic(), []
    for _ in range(ROUNDS):
        before = sum(len(client.answered) for client in clients)
        one.wait(lambda: sum(len(client.answered) for client in clients) > before + 50, "load")  # noqa: B023
        down = time.monotonic()
        assert one.program.stop() == 0, one.program.tail()
        one.start()
        gaps.append(takes_mail(one) - down)
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join(60)
    one.wait(one.ready, "the relay is ready")
    one.idle(60)
    seconds = time.monotonic() - begun
    answered = set().union(*(client.answered for client in clients))
    got = [line.split()[1].decode() for message in receiver.accepted for line in message.data.split(b"\r\n")
           if line.startswith(b"X-Number:")]  # fmt: skip
    lost, refused = answered - set(got), [why for client in clients for why in client.refused]
    print(f"{ROUNDS} restarts in {seconds:.0f} s: {len(answered)} messages accepted, {len(lost)} lost,"
          f" {len(got) - len(set(got))} twice, {len(refused)} connections refused or cut,"
          f" {sum(client.turned_away for client in clients)} told 421, at most {max(gaps):.2f} s without an answer")
    record_property("fault", ("14 restarts, socket held", {
        "workers": workers, "rounds": ROUNDS, "accepted": len(answered), "lost": len(lost),
        "twice": len(got) - len(set(got)), "again_s": round(max(gaps), 2),
        "more": f"{len(refused)} connections refused or cut, {seconds:.0f} s in all"}))  # fmt: skip
    assert [client.strange for client in clients] == [[]] * 4
    assert refused == []
    assert lost == set()
    assert len(got) == len(set(got))
    assert all(client.turned_away <= ROUNDS * 2 for client in clients)
    one.stop()


@workers(short=False)
def test_a_message_under_way_is_finished_within_the_drain_and_told_421_after_it(held, workers):
    one, receiver = held
    takes_mail(one)
    quick, slow = Client(one.smtp_port, "quick", keep=False), Client(one.smtp_port, "slow", keep=False)
    with socket.create_connection(("127.0.0.1", one.smtp_port), timeout=30) as first, first.makefile("rb") as hears, \
         socket.create_connection(("127.0.0.1", one.smtp_port), timeout=30) as second, second.makefile("rb") as listens:
        for client, connection, replies in ((quick, first, hears), (slow, second, listens)):
            client.expect(replies, b"220")
            client.say(connection, replies, b"EHLO app.shop.test\r\n", b"250")
            client.say(connection, replies, b"MAIL FROM:<a@shop.test>\r\n", b"250")
            client.say(connection, replies, b"RCPT TO:<you@site.test>\r\n", b"250")
            client.say(connection, replies, b"DATA\r\n", b"354")
            connection.sendall(HEAD.format("1").encode())
        one.program.process.send_signal(signal.SIGTERM)
        wait_for(lambda: b"stopping: no new mail" in one.program.log.read_bytes(), "the drain begins")
        quick.say(first, hears, b"the end\r\n.\r\n", b"250")
        with pytest.raises(TurnedAway):
            quick.expect(hears, b"what comes next is 421")
        with pytest.raises(TurnedAway):  # five seconds of drain, and no end of its message
            slow.expect(listens, b"250")
        assert one.program.process.wait(30) == 0
    one.start()  # what came in while it went down is in the queue
    one.wait(lambda: [message for message in receiver.accepted if b"the end" in message.data], "the delivery")
    one.stop()


@workers(short=False)
def test_a_connection_made_while_no_relay_runs_waits(held, workers):
    one, _ = held
    takes_mail(one)
    assert one.program.stop() == 0
    waiting = socket.create_connection(("127.0.0.1", one.smtp_port), timeout=30)
    with waiting, waiting.makefile("rb") as replies:
        one.start()
        assert replies.readline().startswith(b"220")
        waiting.sendall(b"QUIT\r\n")
        assert replies.readline().startswith(b"221")


def test_the_control_without_a_held_socket_connections_are_refused(held):
    """What the harness counts does happen when nobody holds the socket."""
    one, _ = held
    takes_mail(one)
    one.socket.close()
    assert one.program.stop() == 0
    client = Client(one.smtp_port, "c", keep=False)
    client.start()
    wait_for(lambda: client.refused, "a refusal")
    client.stopping.set()
    client.join(30)
    one.socket = socket.socket()


STARTING = {  # the relay says so in its log, or somebody sees it
    "the engine is there": lambda one: b"relay-engine" in names_of_children(one.program.process.pid),
    "the first front takes mail": lambda one: b"takes mail" in one.program.log.read_bytes(),
}


def names_of_children(pid):
    """What the processes that one started call themselves."""
    names = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            names.append(Path(f"/proc/{child}/comm").read_bytes().strip())
    return names


@pytest.mark.parametrize("moment", STARTING)
@pytest.mark.parametrize("workers", [FRONTS])
def test_a_stop_while_it_starts_is_a_clean_one(held, moment, workers):
    """The engine does not wait for fronts that were told to stop before they came up."""
    one, _ = held
    for wait_s in (0.0, 0.02):
        one.wait(lambda: STARTING[moment](one), moment)
        time.sleep(wait_s)  # a little later something else is under way
        begun = time.monotonic()
        assert one.program.stop() == 0, one.program.tail()
        assert time.monotonic() - begun < within(2)
        one.program.log.write_bytes(b"")
        one.start()


@workers(short=False)
def test_hanging_up_while_it_starts_does_not_end_it(room, workers):
    one = Relay(room, NoNames(), {}, delivery={"mode": "sandbox"}, config={"workers": workers})
    command = [sys.executable, "-m", "relay", "serve", "--config", str(one.config)]
    one.program = Program(command, one.home / "log", cwd=ROOT, env=one.environment())
    wait_for(lambda: b"relay" in subprocess.check_output(["cat", f"/proc/{one.program.process.pid}/cmdline"]), "it")
    one.program.wait_until((one.home / "data" / "lock").exists, "it has read its configuration")
    one.program.process.send_signal(signal.SIGHUP)
    one.program.wait_until(lambda: one.ready() and one.events("reloaded"), "the reload")
    one.stop()
