"""Where a program on this machine hands in its mail."""

import pytest

from relay.cli.failure import Failed, Misused
from relay.cli.send import default_sender, next_step, read_file, stream_field, write_message
from relay.cli.submit import QUEUED_ID, Listens, address_of, plain_listener, sendmail_address
from relay.core.ids import message_id


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("127.0.0.1:2525", ("127.0.0.1", 2525)),
        ("0.0.0.0:25", ("127.0.0.1", 25)),
        ("[::]:25", ("::1", 25)),
        ("[2001:db8::1]:587", ("2001:db8::1", 587)),
        ("mail.example.com:2525", ("mail.example.com", 2525)),
    ],
)
def test_address_of(bind, address):
    assert address_of(bind) == address


@pytest.mark.parametrize("bind", ["mail.example.com", "2525", "host:", "host:x", ""])
def test_no_address(bind):
    with pytest.raises(Failed, match="HOST:PORT"):
        address_of(bind)


def test_first_listener_that_takes_this_machine():
    listeners = [
        Listens("0.0.0.0:465", tls="implicit", networks=("127.0.0.0/8",)),
        Listens("0.0.0.0:587", auth="required", networks=("127.0.0.0/8",)),
        Listens("10.0.0.5:25", networks=("10.0.9.0/24",)),
        Listens("0.0.0.0:2525", networks=("10.0.0.0/8", "127.0.0.0/8")),
    ]
    assert plain_listener(listeners) == ("127.0.0.1", 2525)


def test_no_listener_takes_this_machine():
    with pytest.raises(Failed, match="RELAY_SMTP"):
        plain_listener([Listens("0.0.0.0:587", auth="required"), Listens("10.0.0.5:25", networks=("bad",))])


def test_the_variable_wins(monkeypatch):
    monkeypatch.setenv("RELAY_SMTP", "[::1]:2500")
    assert sendmail_address() == ("::1", 2500)


def test_sendmail_reads_the_listeners_of_the_config(monkeypatch, tmp_path):
    config = tmp_path / "relay.yaml"
    config.write_text(
        'hostname: {file: not-needed}\nlisteners:\n  tls: {bind: "0.0.0.0:465", tls: implicit}\n'
        '  apps: {bind: "127.0.0.1:2526", networks: [127.0.0.0/8]}\n'
    )
    monkeypatch.delenv("RELAY_SMTP", raising=False)
    monkeypatch.setenv("RELAY_CONFIG", str(config))
    assert sendmail_address() == ("127.0.0.1", 2526)


@pytest.mark.parametrize("text", [None, b"", b"\xff", b"a: [", b"listeners: 3", b"listeners: {a: 1}"])
def test_without_a_config_it_is_the_usual_place(monkeypatch, tmp_path, text):
    config = tmp_path / "relay.yaml"
    if text is not None:
        config.write_bytes(text)
    monkeypatch.delenv("RELAY_SMTP", raising=False)
    monkeypatch.setenv("RELAY_CONFIG", str(config))
    assert sendmail_address() == ("127.0.0.1", 2525)


def test_the_id_is_found_in_the_reply():
    queued = message_id(1772366400.0, b"\xff" * 6)
    match = QUEUED_ID.search(f"250 2.0.0 Ok: queued as {queued}")
    assert match
    assert match[1] == queued
    assert not QUEUED_ID.search("250 2.0.0 everything is in good order now")


def test_default_sender_is_aligned_with_the_relays_domain():
    assert default_sender("relay.example.com").endswith("@example.com")
    assert default_sender("localhost").endswith("@localhost")


def test_a_written_message_leaves_date_and_id_to_the_relay():
    data = write_message("a@b.example", ["c@d.example", "e@f.example"], "Grüße")
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"To: c@d.example, e@f.example\r\n" in head + b"\r\n"
    assert b"=?utf-8?" in head
    assert b"Date" not in head
    assert b"Message-ID" not in head
    assert body.endswith(b"\r\n")


def test_a_subject_cannot_make_headers():
    with pytest.raises(Misused):
        write_message("a@b.example", ["c@d.example"], "x\r\nBcc: y@z.example")


@pytest.mark.parametrize("name", ["", "a b", "x\r\nBcc: y", "ä"])
def test_no_stream_name(name):
    with pytest.raises(Misused, match="stream's name"):
        stream_field(name)


def test_a_file_gets_crlf(tmp_path):
    (tmp_path / "m.eml").write_bytes(b"To: a\n\nx\r\ny\rz\n")
    assert read_file(tmp_path / "m.eml") == b"To: a\r\n\r\nx\r\ny\r\nz\r\n"
    with pytest.raises(Failed, match="cannot read"):
        read_file(tmp_path / "none.eml")


def test_what_to_look_at_next():
    assert next_step("sandbox", "06a") == "relay sandbox show 06a"
    assert next_step("mx", "06a") == "relay explain 06a"
