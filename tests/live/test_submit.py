"""Handing in mail to a server that answers as it likes: what counts is what it said to the dot."""

import socketserver
import threading

import pytest

from relay.cli.sendmail import run_sendmail
from relay.cli.submit import Receipt, Refused, Unreachable, submit

QUEUED = "250 2.0.0 Ok: queued as 01m8046myvqqv7wnn7x"
MAIL = b"Subject: x\r\n\r\n.hidden dot\r\n"


class Scripted(socketserver.StreamRequestHandler):
    """Answers each command by its first word; an answer may be a list, used up from the front; None hangs up."""

    def say(self, word):
        answer = self.server.answers.get(word, "250 ok")
        if isinstance(answer, list):
            answer = answer.pop(0)
        if answer is not None:
            self.wfile.write("".join(f"{line}\r\n" for line in answer.split("\n")).encode())
        return answer

    def handle(self):
        if self.say("banner") is None:
            return
        while line := self.rfile.readline():
            self.server.heard.append(line.rstrip(b"\r\n").decode())
            word = line.split()[0].decode().upper()
            answer = self.say(word)
            if answer is None or word == "QUIT":
                return
            if answer.startswith("354"):
                body = b""
                while not body.endswith(b"\r\n.\r\n"):
                    body += self.rfile.readline()
                self.server.bodies.append(body)
                if self.say("dot") is None:
                    return


@pytest.fixture
def server():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Scripted) as server:
        server.daemon_threads = True
        server.heard, server.bodies = [], []
        server.answers = {
            "banner": "220 relay", "EHLO": "250-relay\n250-8BITMIME\n250 SMTPUTF8", "DATA": "354 go on", "dot": QUEUED,
            "QUIT": "221 bye",
        }  # fmt: skip
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def hand_in(server, *recipients, sender="a@b.example", message=MAIL):
    return submit(server.server_address, sender, recipients or ["c@d.example"], message)


def test_a_message_is_handed_in(server):
    assert hand_in(server) == Receipt(QUEUED, "01m8046myvqqv7wnn7x")
    assert "mail FROM:<a@b.example>" in server.heard
    assert server.bodies == [b"Subject: x\r\n\r\n..hidden dot\r\n.\r\n"]


def test_the_null_sender(server):
    hand_in(server, sender="")
    assert "mail FROM:<>" in server.heard


def test_eight_bit_is_declared(server):
    hand_in(server, message="Subject: x\r\n\r\nGrüße\r\n".encode())
    assert "mail FROM:<a@b.example> BODY=8BITMIME" in server.heard


def test_international_addresses_need_smtputf8(server):
    hand_in(server, "jörg@d.example")
    assert "mail FROM:<a@b.example> SMTPUTF8" in server.heard
    server.answers["EHLO"] = "250 relay"
    with pytest.raises(Refused, match="SMTPUTF8"):
        hand_in(server, "jörg@d.example")


def test_the_rest_goes_in_a_second_transaction(server):
    server.answers["RCPT"] = ["250 ok", "452 4.5.3 too many recipients", "452 4.5.3 too many", "250 ok", "250 ok"]
    assert hand_in(server, "1@d.example", "2@d.example", "3@d.example").message
    assert len(server.bodies) == 2
    assert [line for line in server.heard if "2@d" in line] == ["rcpt TO:<2@d.example>"] * 2


def test_452_to_the_first_recipient_is_a_refusal(server):
    server.answers["RCPT"] = "452 4.3.1 disk full"
    with pytest.raises(Refused) as refused:
        hand_in(server)
    assert (refused.value.phase, refused.value.code) == ("RCPT", 452)
    assert server.bodies == []


def test_a_refused_recipient_does_not_stop_the_others(server):
    server.answers["RCPT"] = ["550 5.1.3 bad", "250 ok"]
    with pytest.raises(Refused, match=r"<1@d\.example> 5\.1\.3 bad"):
        hand_in(server, "1@d.example", "2@d.example")
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("word", "answer", "phase", "code"),
    [
        ("banner", "554 5.7.1 no", "the connection", 554),
        ("banner", "421 4.3.2 busy", "the connection", 421),
        ("MAIL", "553 5.7.1 not you", "MAIL", 553),
        ("DATA", "554 5.5.1 no", "DATA", 554),
        ("dot", "451 4.3.0 later", "DATA", 451),
        ("dot", "550 5.7.1 policy", "DATA", 550),
    ],
)
def test_refusals(server, word, answer, phase, code):
    server.answers[word] = answer
    with pytest.raises(Refused) as refused:
        hand_in(server)
    assert (refused.value.phase, refused.value.code) == (phase, code)


@pytest.mark.parametrize("word", ["banner", "EHLO", "MAIL", "RCPT", "DATA", "dot"])
def test_a_connection_that_breaks_before_the_reply_to_the_dot(server, word):
    server.answers[word] = None
    with pytest.raises(Unreachable):
        hand_in(server)


@pytest.mark.parametrize("answer", [None, "421 4.3.2 going down", "500 what"])
def test_trouble_after_the_dot_is_no_failure(server, answer):
    """A caller told "try again" would send the message twice."""
    server.answers["QUIT"] = answer
    assert hand_in(server).message


@pytest.mark.parametrize(
    ("word", "answer", "code"),
    [
        ("dot", QUEUED, 0), ("dot", "451 4.3.0 later", 75), ("dot", "550 5.7.1 no", 69), ("RCPT", "550 5.1.1 no", 67),
        ("RCPT", "450 4.2.1 later", 75), ("banner", None, 75), ("banner", "421 busy", 75), ("MAIL", "553 no", 69),
    ],
)  # fmt: skip
def test_sendmails_exit_codes(server, monkeypatch, capsys, word, answer, code):
    server.answers[word] = answer
    host, port = server.server_address
    monkeypatch.setenv("RELAY_SMTP", f"{host}:{port}")
    assert run_sendmail(["-i", "c@d.example"], [b"Subject: x\n", b"\n", b"hi\n"]) == code
    assert capsys.readouterr().err.startswith("sendmail: ") == (code != 0)
