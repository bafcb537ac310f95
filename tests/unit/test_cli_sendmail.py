"""relay sendmail, as cron, PHP and mail(1) call it."""

import io

import pytest

from relay.cli.failure import Misused
from relay.cli.sendmail import Caller, Flags, compose, from_field, parse_flags, read_message, run_sendmail

CRON = Caller("root", "root", "web1.example.com")


def message(text, *, dot_is_text=False):
    return read_message(io.BytesIO(text), dot_is_text=dot_is_text)


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("-i root", Flags(dot_is_text=True, recipients=("root",))),
        (
            "-FCronDaemon -i -B8BITMIME -oem root",
            Flags(full_name="CronDaemon", dot_is_text=True, recipients=("root",)),
        ),
        ("-t -i", Flags(from_headers=True, dot_is_text=True)),
        ("-ti", Flags(from_headers=True, dot_is_text=True)),
        ("-t -i -fbounces@example.com", Flags("bounces@example.com", from_headers=True, dot_is_text=True)),
        (
            "-oi -f a@b.example -- c@d.example",
            Flags("a@b.example", dot_is_text=True, recipients=("c@d.example",)),
        ),
        ("-r a@b.example c@d.example", Flags("a@b.example", recipients=("c@d.example",))),
        ("-bm -odb -oem -N failure -R hdrs -V x1 -v a@b.example", Flags(recipients=("a@b.example",))),
        ("-G -U -m -n -p ESMTP:host -h 3 -X /dev/null a@b.example", Flags(recipients=("a@b.example",))),
        ("-q30m -d0.1 a@b.example", Flags(recipients=("a@b.example",))),
        ("-bi", Flags(aliases=True)),
        ("-I", Flags(aliases=True)),
        ("-f <> a@b.example", Flags("<>", recipients=("a@b.example",))),
        ("a@b.example -f c@d.example", Flags("c@d.example", recipients=("a@b.example",))),
    ],
)
def test_flags(line, flags):
    assert parse_flags(line.split()) == flags


@pytest.mark.parametrize("line", ["-bs", "-bp", "-bd", "-bv a@b", "-bz", "-f", "-W x", "--help"])
def test_flags_that_are_refused(line):
    with pytest.raises(Misused):
        parse_flags(line.split())


@pytest.mark.parametrize("mode", ["p", "s", "d"])
def test_refused_modes_say_what_to_use_instead(mode):
    with pytest.raises(Misused, match=r"relay queue list|listener|relay serve"):
        parse_flags([f"-b{mode}"])


def test_line_ends_become_crlf():
    assert message(b"Subject: x\n\none\r\ntwo\rthree") == b"Subject: x\r\n\r\none\r\ntwo\r\nthree\r\n"


def test_a_lone_dot_ends_the_message():
    assert message(b"Subject: x\n\none\n.\ntwo\n") == b"Subject: x\r\n\r\none\r\n"


def test_a_lone_dot_at_the_end_without_line_end():
    assert message(b"one\n.") == b"one\r\n"


def test_a_dot_on_the_first_line_leaves_nothing():
    assert message(b".\nrest\n") == b""


def test_a_lone_dot_is_text_with_i():
    assert message(b"one\n.\ntwo\n", dot_is_text=True) == b"one\r\n.\r\ntwo\r\n"


def test_a_dot_with_more_on_its_line_is_text():
    assert message(b"..\n. \n.x\n") == b"..\r\n. \r\n.x\r\n"


def test_an_mbox_separator_goes():
    assert message(b"From root Mon Mar  2 10:00:00 2026\nTo: a@b\n\n") == b"To: a@b\r\n\r\n"


def test_bytes_that_are_no_text_stay():
    assert message(b"\xff\x00\n") == b"\xff\x00\r\n"


def test_cron():
    """Debian's cron: sendmail -FCronDaemon -i -B8BITMIME -oem root"""
    mail = message(b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@web1> backup\n\ndisk is full\n")
    sender, recipients, data = compose(parse_flags(["-FCronDaemon", "-i", "-oem", "root"]), mail, CRON)
    assert (sender, recipients) == ("root@web1.example.com", ["root@web1.example.com"])
    assert data == mail


def test_php_mail():
    """PHP: sendmail -t -i, with an envelope sender in the fifth argument"""
    mail = message(
        b"To: You <you@example.org>, b@example.org\nSubject: Hi\nBcc: c@example.org\nFrom: shop@example.com\n\nx\n"
    )
    sender, recipients, data = compose(parse_flags(["-t", "-i", "-fbounce@example.com"]), mail, CRON)
    assert sender == "bounce@example.com"
    assert recipients == ["you@example.org", "b@example.org", "c@example.org"]
    assert b"bcc" not in data.lower()
    assert data.endswith(b"From: shop@example.com\r\n\r\nx\r\n")


def test_no_header_at_all():
    """echo "disk is full" | sendmail ops@example.org"""
    sender, recipients, data = compose(Flags(recipients=("ops@example.org",)), message(b"disk is full\n"), CRON)
    assert data == b"From: root <root@web1.example.com>\r\n\r\ndisk is full\r\n"
    assert (sender, recipients) == ("root@web1.example.com", ["ops@example.org"])


def test_the_body_may_begin_with_an_empty_line():
    _, _, data = compose(Flags(recipients=("a@b.example",)), message(b"\nhello\n"), CRON)
    assert data.endswith(b"\r\n\r\nhello\r\n")


def test_resent_fields_count_alone():
    mail = message(b"To: old@example.org\nResent-To: new@example.org\nResent-Bcc: x@example.org\nFrom: a@b.example\n\n")
    _, recipients, data = compose(Flags(from_headers=True), mail, CRON)
    assert recipients == ["new@example.org", "x@example.org"]
    assert b"x@example.org" not in data


def test_headers_and_arguments_are_joined_without_doubles():
    mail = message(b"To: a@b.example\nFrom: x@y.example\n\n")
    _, recipients, _ = compose(Flags(from_headers=True, recipients=("c@d.example", "a@b.example")), mail, CRON)
    assert recipients == ["c@d.example", "a@b.example"]


def test_groups_and_folded_lists_are_opened():
    mail = message(b"To: team: a@b.example,\n c@d.example;\nCc: undisclosed-recipients:;\nFrom: x@y.example\n\n")
    _, recipients, _ = compose(Flags(from_headers=True), mail, CRON)
    assert recipients == ["a@b.example", "c@d.example"]


def test_bcc_stays_without_t():
    """Only -t reads recipients from the header; otherwise the relay takes Bcc out."""
    mail = message(b"Bcc: a@b.example\nFrom: x@y.example\n\n")
    _, recipients, data = compose(Flags(recipients=("c@d.example",)), mail, CRON)
    assert recipients == ["c@d.example"]
    assert b"Bcc" in data


def test_the_null_sender():
    for given in ("<>", ""):
        sender, _, data = compose(Flags(given, recipients=("a@b.example",)), b"", CRON)
        assert sender == ""
        assert b"From: root <root@web1.example.com>" in data


def test_a_sender_with_a_name():
    sender, _, _ = compose(Flags("Shop <shop@example.com>", recipients=("a@b.example",)), b"", CRON)
    assert sender == "shop@example.com"


def test_two_senders_are_refused():
    with pytest.raises(Misused, match="one address"):
        compose(Flags("a@b.example, c@d.example", recipients=("a@b.example",)), b"", CRON)


def test_nobody_to_send_to():
    with pytest.raises(Misused, match="no recipients"):
        compose(Flags(from_headers=True), b"Subject: x\r\n\r\n", CRON)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("", b"From: a@b.example\r\n"),
        ("Cron Daemon", b"From: Cron Daemon <a@b.example>\r\n"),
        ("O'Hara, Jim", b'From: "O\'Hara, Jim" <a@b.example>\r\n'),
        ("Zoë", b"From: =?utf-8?q?Zo=C3=AB?= <a@b.example>\r\n"),
        ("evil\r\nBcc: x@y", b'From: "evilBcc: x@y" <a@b.example>\r\n'),
    ],
)
def test_from_field(name, field):
    assert from_field(name, "a@b.example") == field


def test_usage_errors_are_64(capsys):
    assert run_sendmail(["-bp"], []) == 64
    assert "relay queue list" in capsys.readouterr().err
    assert run_sendmail(["-t"], []) == 64


def test_newaliases_does_nothing():
    assert run_sendmail(["-bi"], []) == 0


def test_a_bad_address_of_the_relay_is_78(monkeypatch, capsys):
    monkeypatch.setenv("RELAY_SMTP", "nowhere")
    assert run_sendmail(["a@b.example"], [b"x\n"]) == 78
    assert "HOST:PORT" in capsys.readouterr().err
