"""The whole way with parts nobody here wrote: clients as people use them, the relay, NSD, Postfix, OpenDKIM.

What must hold each time: OpenDKIM says pass to both signatures, and no byte of the body has changed.
"""

import os
import re
import shutil
import smtplib
import subprocess
import sys
from email.message import EmailMessage

import pytest

from tests.peers.messages import MADE, corpus
from tests.peers.place import give_up, need
from tests.peers.relay import ROOT

pytestmark = pytest.mark.peers
SENDER, YOU = "shop@shop.test", "you@postfix.test"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, **options)
    assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode())
    return done


def arrived(postfix, subject, count=1):
    """The messages with that subject, all of them signed and verified."""
    found = postfix.wait(f"Subject: {subject}\n", count)
    assert [one.dkim for one in found] == [["pass", "pass"]] * count, [one.raw[:2000] for one in found]
    return found


@pytest.fixture(scope="module")
def shared(place, names, keys):
    """One relay for all clients."""
    from tests.peers.relay import Relay

    one = Relay(place, names, keys).start()
    yield one
    one.stop()


@pytest.mark.parametrize("kind", MADE)
def test_messages_arrive_as_they_were_sent(shared, postfix, kind):
    message = MADE[kind]()
    identity = f"{kind.replace(' ', '-')}.{os.getpid()}@shop.test"
    sent = f"Message-ID: <{identity}>\r\n".encode() + message
    eight_bit = ["BODY=8BITMIME"] if any(byte > 127 for byte in message[:100_000]) else []
    shared.send(SENDER, YOU, sent, mail=eight_bit)
    one, = postfix.wait(identity)
    assert one.dkim == ["pass", "pass"], one.raw[:2000]
    assert one.body == message.partition(b"\r\n\r\n")[2] + (b"" if message.endswith(b"\r\n") else b"\r\n")
    assert one.recipient == YOU


def test_the_odd_messages_of_cpythons_own_tests_are_delivered_or_refused(shared, postfix):
    """Each is a problem for somebody's parser: the relay must answer each, and what it takes must arrive."""
    taken = []
    with shared.smtp() as smtp:
        for number, file in enumerate(corpus()):
            text = re.sub(rb"\r\n|\r|\n", b"\r\n", file.read_bytes().removeprefix(b"From "))
            marked = f"X-Corpus: {number:03d}.{os.getpid()}.end\r\n".encode() + text
            smtp.ehlo_or_helo_if_needed()
            smtp.mail(SENDER, ["BODY=8BITMIME"])
            smtp.rcpt(YOU)
            code, words = smtp.data(marked)
            assert code == 250 or words.startswith(b"5.6."), (file, code, words)  # RFC 3463 §3.7: content
            taken += [number] if code == 250 else []
    assert len(taken) > 20
    for number in taken:
        postfix.wait(f"X-Corpus: {number:03d}.{os.getpid()}.end")


def test_smtplib(shared, postfix):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, YOU, "smtplib says hello"
    message.set_content("Hello")
    with smtplib.SMTP("127.0.0.1", shared.smtp_port) as smtp:
        smtp.send_message(message)
    assert arrived(postfix, "smtplib says hello")[0].body == b"Hello\r\n"


def test_swaks(shared, postfix):
    need("swaks")
    run("swaks", "--server", f"127.0.0.1:{shared.smtp_port}", "--from", SENDER, "--to", f"{YOU},b@second.test",
        "--h-Subject", "swaks says hello", "--body", "one\n.two\n", "--pipeline")  # fmt: skip
    found = arrived(postfix, "swaks says hello", 2)
    assert {one.recipient for one in found} == {YOU, "b@second.test"}
    assert {one.body for one in found} == {found[0].body}


def test_curl(shared, postfix, tmp_path):
    need("curl")
    text = f"From: {SENDER}\r\nTo: {YOU}\r\nSubject: curl says hello\r\n\r\nHello\r\n"
    (tmp_path / "mail").write_bytes(text.encode())
    run("curl", "-sS", f"smtp://127.0.0.1:{shared.smtp_port}/app.shop.test", "--mail-from", SENDER,
        "--mail-rcpt", YOU, "--upload-file", str(tmp_path / "mail"))  # fmt: skip
    assert arrived(postfix, "curl says hello")[0].body == b"Hello\r\n"


def test_msmtp(shared, postfix):
    need("msmtp")
    text = f"From: {SENDER}\nTo: {YOU}\nSubject: msmtp says hello\n\nHello\n"
    run("msmtp", "--host=127.0.0.1", f"--port={shared.smtp_port}", "--auth=off", "--tls=off",
        f"--from={SENDER}", "--read-recipients", "--", input=text.encode())  # fmt: skip
    assert arrived(postfix, "msmtp says hello")[0].body == b"Hello\r\n"


def test_relay_sendmail(shared, postfix):
    text = f"From: {SENDER}\nTo: {YOU}\nBcc: b@second.test\nSubject: sendmail says hello\n\nHello\n.\nnot sent\n"
    shared.run("sendmail", "-t", "-f", SENDER, text=text.encode())
    found = arrived(postfix, "sendmail says hello", 2)
    assert {one.body for one in found} == {b"Hello\r\n"}
    assert {one.recipient for one in found} == {YOU, "b@second.test"}
    assert all("Bcc" not in one.message for one in found)


def test_relay_send(shared, postfix, tmp_path):
    (tmp_path / "mail.eml").write_text(f"From: {SENDER}\nTo: {YOU}\nSubject: send says hello\n\nHello\n")
    shared.run("send", "--to", YOU, "--from", SENDER, str(tmp_path / "mail.eml"))
    assert arrived(postfix, "send says hello")[0].body == b"Hello\r\n"


def test_php(shared, postfix):
    need("php")
    path = f"{sys.executable} -m relay sendmail -t -i -f {SENDER}"
    script = f"exit(mail('{YOU}', 'php says hello', \"Hello\\n.\\nstill\\n\", 'From: {SENDER}') ? 0 : 1);"
    run("php", "-d", f"sendmail_path={path}", "-r", script, env=shared.environment(), cwd=ROOT)
    body = arrived(postfix, "php says hello")[0].body
    assert body == b"Hello\r\n.\r\nstill\r\n\r\n"  # PHP ends what it hands over with one more line end


@pytest.fixture(scope="session")
def nodemailer(tmp_path_factory):
    """A folder where node finds nodemailer, from npm's ordinary client."""
    need("node", "npm")
    folder = tmp_path_factory.mktemp("node")
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "nodemailer@7"], cwd=folder,
                          capture_output=True, timeout=100, check=False)  # fmt: skip
    if done.returncode or not shutil.which("node"):
        give_up(f"npm could not install nodemailer: {done.stderr.decode()[-500:]}")
    return folder


def test_nodemailer(shared, postfix, nodemailer):
    script = f"""
const transport = require('nodemailer').createTransport(
  {{host: '127.0.0.1', port: {shared.smtp_port}, secure: false, pool: true, ignoreTLS: false}});
transport.sendMail({{from: 'Käthe <{SENDER}>', to: '{YOU}', subject: 'nodemailer says hello',
  text: 'Grüße', html: '<p>Grüße</p>', attachments: [{{filename: 'a.txt', content: 'x'.repeat(5000)}}]}})
  .then(() => transport.close(), error => {{ console.error(error); process.exit(1); }});
"""
    run("node", "-e", script, cwd=nodemailer)
    one, = arrived(postfix, "nodemailer says hello")
    assert one.message.get_body(("plain",)).get_content().strip() == "Grüße"


def test_a_bounce_reaches_the_sender_through_the_relay(shared, postfix):
    message = f"From: {SENDER}\r\nTo: you@nowhere.odd.test\r\nSubject: to nobody\r\n\r\nHello\r\n".encode()
    sent = shared.send("login@shop.test", "you@nowhere.odd.test", message)
    assert [row[:2] for row in shared.ends(sent)] == [("accepted", ""), ("bounced", "you@nowhere.odd.test")]
    report, = [one for one in postfix.wait("Subject: to nobody") if one.recipient == "login@shop.test"]
    assert report.message["Return-Path"] == "<>"
    assert report.message.get_content_type() == "multipart/report"
    status = report.message.get_payload()[1]
    assert status.get_content_type() == "message/delivery-status"
    assert "5.1.2" in report.raw.decode("utf-8", "replace")
