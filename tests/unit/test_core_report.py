"""Reports taken apart: what other hosts write is read, and what nobody should write does no harm."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.arf import Complaint, read_complaint
from relay.core.bounce import Bounce, read_bounces
from relay.core.classify import Kind
from relay.core.report import NO_REPORT, PARTS_MOST, READ_BYTES, media_type, path_in, take_apart
from tests.unit.reports import arf, dsn, header, wire

US = "relay.example.com"
TRACE = "01krzc4m2v000000000"
PATH = "b-token@bounces.example.com"


def complaint(*message):
    return read_complaint(take_apart(*message), US)


def bounces(*message):
    return read_bounces(take_apart(*message))


def test_a_complaint_is_read():
    said = complaint(*arf(mail_from=PATH, path="<other@example.com>", trace=TRACE))
    assert said == Complaint(
        "abuse", (PATH, "other@example.com"), (TRACE,), ("bob@example.net",), "SomeGenerator/1.0"
    )
    assert bounces(*arf()) == ()


def test_a_complaint_that_gives_nothing_back_says_that_much():
    body = wire("--part one\nContent-Type: message/feedback-report\n\nFeedback-Type: ABUSE\n\n--part one--\n")
    assert complaint(header("feedback-report"), body) == Complaint("abuse")


def test_only_this_hosts_trace_counts():
    foreign = arf(trace=TRACE)[1].replace(b"relay.example.com with", b"other.example.com with")
    assert complaint(header("feedback-report"), foreign).traces == ()


def test_a_delivery_report_is_read():
    [said] = bounces(*dsn())
    assert said == Bounce("failed", "bob@example.net", "5.1.1", "550 5.1.1 <bob@example.net>: no such user",
                          "store.example.net")  # fmt: skip
    assert (said.code, said.kind) == (550, Kind.INVALID_RECIPIENT)
    assert complaint(*dsn()) is None


@pytest.mark.parametrize(
    ("status", "diagnostic", "code", "kind"),
    [
        ("5.2.2", "552 5.2.2 mailbox full", 552, Kind.QUOTA_ISSUES),
        ("4.4.7", "delivery time expired", 450, Kind.MESSAGE_EXPIRED),
        ("5.0.0", "", 550, Kind.INVALID_RECIPIENT),
        ("nonsense", "x;y", 550, Kind.INVALID_RECIPIENT),
    ],
)
def test_what_a_bounce_is_about(status, diagnostic, code, kind):
    [said] = bounces(*dsn(status=status, diagnostic=diagnostic))
    assert (said.code, said.kind) == (code, kind)


def test_several_recipients_and_untyped_fields():
    body = wire(
        "--part one\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n"
        "Final-Recipient: rfc822; a@example.net\nAction: Failed\nStatus: 5.1.1 (no)\nDiagnostic-Code: said no; really\n"
        "\nFinal-Recipient: rfc822; b@example.net\nAction: delayed\nStatus: 4.4.1\n\n--part one--\n"
    )
    said = bounces(header("delivery-status"), body)
    assert [(one.action, one.recipient, one.status, one.diagnostic) for one in said] == [
        ("failed", "a@example.net", "5.1.1", "said no; really"), ("delayed", "b@example.net", "4.4.1", "")
    ]  # fmt: skip


def test_fields_that_are_encoded_are_read_all_the_same():
    inner = b"Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; a@example.net\nAction: failed\nStatus: 5.1.1\n"
    for encoding, data in (
        ("base64", base64.encodebytes(inner).replace(b"\n", b"\r\n")),
        ("Quoted-Printable", inner.replace(b"=", b"=3D").replace(b"\n", b"\r\n")),
    ):
        part = f"Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
        [said] = bounces(header("delivery-status"), b"--part one\r\n" + part + data + b"\r\n--part one--\r\n")
        assert (said.recipient, said.status) == ("a@example.net", "5.1.1")
    broken = b"--part one\r\n" + part.replace(b"Quoted-Printable", b"base64") + b"A\r\n--part one--\r\n"
    assert bounces(header("delivery-status"), broken) == ()


@pytest.mark.parametrize(
    "value",
    [
        "", "text/plain", "multipart/report", "multipart/mixed; boundary=x; report-type=feedback-report",
        "multipart/report; boundary=x", 'multipart/report; boundary=""; report-type=feedback-report',
        f"multipart/report; report-type=feedback-report; boundary={'x' * 201}",
    ],
)  # fmt: skip
def test_what_is_no_report(value):
    field = f"Content-Type: {value}\r\n".encode() if value else b""
    assert take_apart(field, b"--x\r\n\r\nhi\r\n--x--\r\n") == NO_REPORT


def test_a_border_is_a_whole_line():
    head = b"Content-Type: multipart/report; report-type=feedback-report; boundary=x\r\n"
    body = b"preamble\r\n--x \t\r\nContent-Type: a/b\r\n\r\none\r\n--xy\r\n--x--\r\n--x\r\n\r\nafter the end\r\n"
    [part] = take_apart(head, body).parts
    assert (part.type, part.content) == ("a/b", b"one\r\n--xy\r\n")
    [open_end] = take_apart(head, b"--x\r\n\r\nno end").parts
    assert (open_end.type, open_end.content) == ("text/plain", b"no end\r\n")
    assert len(take_apart(head, b"--x\r\n\r\n" * 100).parts) == PARTS_MOST


def test_parameters():
    assert media_type('Multipart/Report; Boundary="a\\"b;c"; x=y; x=z; broken') == (
        "multipart/report", {"boundary": 'a"b;c', "x": "y"}
    )  # fmt: skip
    assert path_in("rfc822; <a@b>") == "a@b"
    assert path_in(None) == path_in("< >") == ""


HOSTILE = [
    b"a" * READ_BYTES, b"--part one\r\n" * 10_000, b"--part one\r\nContent-Type: message/feedback-report\r\n\r\n"
    + b"Received: " + b"by " * 30_000, b"\r\n" * 60_000, b"--part one" * 10_000,
    b"--part one\r\nContent-Type: message/rfc822\r\n\r\n" + b"Received: by " + b"relay.example.com " * 7000,
    b"--part one\r\nContent-Type: message/delivery-status\r\n\r\n" + b"Action: failed\r\n\r\n" * 7000,
    b"--part one\r\nContent-Type: message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"=" * 90_000,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
@pytest.mark.parametrize("kind", ["feedback-report", "delivery-status"])
def test_hostile_bytes_cost_no_time(kind, number):
    begun = time.process_time()
    report = take_apart(header(kind), HOSTILE[number])
    read_complaint(report, US)
    assert len(read_bounces(report)) <= 101
    assert time.process_time() - begun < 0.5


@given(st.binary(max_size=300), st.binary(max_size=400), st.sampled_from([arf, dsn]), st.data())
def test_nothing_raises(head, tail, made, data):
    """Invariant: whatever bytes come, whole or with a piece of a true report cut out, there is an answer."""
    true_head, true_body = made()
    cut = data.draw(st.integers(0, len(true_body)))
    for one in (take_apart(head, tail), take_apart(true_head, true_body[:cut] + tail + true_body[cut + 7 :]),
                take_apart(true_head + head, tail)):  # fmt: skip
        said = read_complaint(one, US)
        assert said is None or len(said.traces) <= 3
        for bounce in read_bounces(one):
            assert 400 <= bounce.code < 600
            assert isinstance(bounce.kind, Kind)
