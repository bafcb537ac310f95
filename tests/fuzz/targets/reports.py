"""Invariant: no bounce or complaint of a stranger makes its reader raise or take long; what is read of it is one line of
printable text, bounded, and what the relay reports itself is read back as it was."""

from __future__ import annotations

from relay.core.arf import read_complaint
from relay.core.bounce import read_bounces
from relay.core.dsn import build
from relay.core.headers import split_message
from relay.core.report import take_apart
from tests.unit.test_core_dsn import report

OURS = b"\r\n".join(build(report()))
ARF = (
    b"Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    b"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: x/1\r\nOriginal-Mail-From: <b-x@y.example>\r\n"
    b"Original-Rcpt-To: a@b.example\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nReceived: from x by relay.example.com with ESMTP id abc; now\r\n"
    b"Return-Path: <b-x@y.example>\r\n\r\nhello\r\n--b--\r\n"
)
SEEDS = [OURS, ARF, OURS.replace(b"Content-Type: message/delivery-status", b"Content-Transfer-Encoding: base64\r\nContent-Type: message/delivery-status"),
         ARF.replace(b"boundary=b", b'boundary="b\\"'), b"Content-Type: multipart/report; boundary=\r\n\r\n--\r\n", b"Content-Type: " + b";a=" * 500]  # fmt: skip


def target(data: bytes) -> None:
    header, body = split_message(data)
    found = take_apart(header, body)
    for bounce in read_bounces(found):
        assert bounce.kind
        assert 200 <= bounce.code <= 599
        for text in (bounce.action, bounce.status, bounce.diagnostic, bounce.mta):
            assert len(text) <= 1000
            assert len(text.splitlines()) <= 1
    complaint = read_complaint(found, "relay.example.com")
    if complaint is not None:
        for text in (complaint.kind, complaint.agent, *complaint.paths, *complaint.traces, *complaint.recipients):
            assert len(text) <= 1000
            assert len(text.splitlines()) <= 1
    if data == OURS:
        assert [one.status for one in read_bounces(found)] == ["5.1.1"]
