"""The scripted receiver does what its script says, seen with another client than our own."""

import smtplib
import socket
import ssl

import pytest

from tests.peers.certificates import server_context
from tests.peers.place import free_port
from tests.peers.receiver import DROP, HANG, Receiver, always, drip, later


@pytest.fixture
def receive():
    servers = []

    def start(answers=None, **options):
        servers.append(Receiver("127.0.0.1", free_port(), answers, **options))
        return servers[-1], smtplib.SMTP("127.0.0.1", servers[-1].port, timeout=5)

    yield start
    for server in servers:
        server.stop()


def send(smtp, *recipients, body="Subject: x\r\n\r\n.dots\r\n"):
    return smtp.sendmail("a@b.test", recipients or ["c@d.test"], body)


def test_it_takes_mail_and_records_it(receive):
    server, smtp = receive()
    send(smtp, "c@d.test", "e@f.test")
    send(smtp)
    smtp.quit()
    first, second = server.accepted
    assert (first.sender, first.recipients, first.data) == (
        "a@b.test", ["c@d.test", "e@f.test"], b"Subject: x\r\n\r\n.dots\r\n"
    )
    assert (first.connection, second.connection, len(server.seen.connections)) == (0, 0, 1)


def test_it_defers_twice_and_then_accepts(receive):
    server, smtp = receive({"dot": [b"451 4.3.0 later\r\n"] * 2})
    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError):
            send(smtp)
    send(smtp)
    smtp.close()
    assert [message.accepted for message in server.seen.messages] == [False, False, True]


def test_it_rejects_one_of_three(receive):
    server, smtp = receive({"rcpt b@x": always(b"550 5.1.1 unknown\r\n")})
    assert list(send(smtp, "a@x", "b@x", "c@x")) == ["b@x"]
    smtp.close()
    assert server.accepted[0].recipients == ["a@x", "c@x"]


def test_it_drops_after_the_dot(receive):
    server, smtp = receive({"dot": [DROP]})
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(smtp)
    assert server.seen.messages[0].answered is None


def test_it_hangs(receive):
    _, smtp = receive({"mail": [HANG]})
    smtp.sock.settimeout(0.2)
    with pytest.raises((TimeoutError, smtplib.SMTPException)):
        send(smtp)
    smtp.close()


@pytest.mark.parametrize("banner", [b"554 5.7.1 go away\r\n", b"421 4.3.2 busy\r\n"])
def test_it_turns_away_at_the_banner(receive, banner):
    with pytest.raises(smtplib.SMTPConnectError):
        receive({"banner": [banner]})


def test_it_speaks_slowly_late_or_nonsense(receive):
    _, smtp = receive({"banner": [drip(0.005, b"220 slow\r\n")], "ehlo": [later(0.05, b"250 late\r\n")],
                       "noop": [b"199 what\r\n", b"600 what\r\n"]})
    assert smtp.ehlo() == (250, b"late")
    assert smtp.noop()[0] == 199
    assert smtp.noop()[0] == 600
    smtp.close()


def test_it_knows_no_ehlo_and_no_pipelining(receive):
    _, smtp = receive({"ehlo": always(b"502 5.5.1 unknown\r\n")})
    smtp.ehlo_or_helo_if_needed()
    assert not smtp.does_esmtp
    smtp.close()
    _, smtp = receive(features=())
    smtp.ehlo()
    assert not smtp.has_extn("pipelining")
    smtp.close()


def test_it_says_421_in_the_middle(receive):
    _, smtp = receive({"rcpt": [b"421 4.3.2 closing\r\n"]})
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(smtp)


def test_it_speaks_tls_or_breaks_it(receive, tmp_path):
    server, smtp = receive(tls=server_context(tmp_path, "mx.test"))
    context = ssl.create_default_context(cafile=tmp_path / "mx.test.pem")
    context.check_hostname = False
    smtp.starttls(context=context)
    send(smtp)
    smtp.close()
    assert server.accepted[0].tls == "TLSv1.3"
    _, smtp = receive({"starttls": [b"220 go\r\nrubbish rubbish rubbish\r\n"]}, features=("STARTTLS",))
    with pytest.raises((ssl.SSLError, OSError, smtplib.SMTPException)):
        smtp.starttls(context=context)
    smtp.close()


def test_a_bare_line_feed_is_not_an_end(receive):
    server, smtp = receive()
    smtp.docmd("EHLO x")
    for command in ("MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"):
        smtp.docmd(command)
    smtp.sock.sendall(b"a\n.\r\nb\r\n.\r\n")
    smtp.getreply()
    smtp.close()
    assert server.accepted[0].data == b"a\n.\r\nb\r\n"


def test_it_stops_and_its_port_is_free(receive):
    server, smtp = receive()
    server.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0
    smtp.close()
