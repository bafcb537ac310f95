"""Reports as other hosts write them: a complaint (the example of RFC 5965 appendix B.2, with our names) and a
delivery report of Postfix's form."""

ORIGINAL = """\
Return-Path: <{path}>
Received: from relay.example.com (relay.example.com [192.0.2.10])\r
\tby mx.example.net with ESMTP id F00F00;\r
\tMon, 16 Nov 2026 10:00:02 +0000\r
Received: from news ([10.0.0.9])\r
\tby relay.example.com with ESMTP id {trace}\r
\tfor <bob@example.net>;\r
\tMon, 16 Nov 2026 10:00:00 +0000\r
From: news@example.com
To: bob@example.net
Subject: Autumn
"""
ARF = """\
This is an email abuse report for an email message received from 192.0.2.10.

--part one
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <{mail_from}>
Original-Rcpt-To: <bob@example.net>
Source-IP: 192.0.2.10

--part one
Content-Type: message/rfc822
Content-Disposition: inline

{original}
Spam Spam Spam
--part one--
"""
DSN = """\
I'm sorry to have to inform you that your message could not be delivered.

--part one
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; bob@example.net
Original-Recipient: rfc822;bob@example.net
Action: {action}
Status: {status}
Remote-MTA: dns; store.example.net
Diagnostic-Code: smtp; {diagnostic}

--part one
Content-Type: message/rfc822

Subject: Autumn

--part one--
"""


def wire(text):
    """Network form of text typed with either line end."""
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()


def header(kind, more=""):
    return wire(
        f'From: reporter@example.net\nMIME-Version: 1.0\nContent-Type: multipart/report;\n\treport-type="{kind}"; '
        f'boundary="part one"\n{more}'
    )


def arf(kind="abuse", mail_from="", path="", trace="0" * 19):
    """Header and body of a complaint."""
    original = ORIGINAL.format(path=path, trace=trace)
    body = ARF.format(kind=kind, mail_from=mail_from, original=original)
    return header("feedback-report"), wire("--part one\nContent-Type: text/plain\n\n" + body)


def dsn(action="failed", status="5.1.1", diagnostic="550 5.1.1 <bob@example.net>: no such user"):
    """Header and body of a delivery report."""
    body = DSN.format(action=action, status=status, diagnostic=diagnostic)
    return header("delivery-status"), wire("--part one\nContent-Type: text/plain\n\n" + body)
