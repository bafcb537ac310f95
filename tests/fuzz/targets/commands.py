"""Invariant: a command line, MAIL, RCPT or HELO is understood or refused by a line of the table; what is understood holds
no control character and is read back the same."""

from __future__ import annotations

import re

from relay.core.address import AddressError, addresses_in, domain_of, is_route, literal, parse_path
from relay.inbound.command import parse_command
from relay.inbound.params import helo_text, parse_mail, parse_rcpt
from relay.inbound.refusals import Refused
from tests.hostile.model import RECIPIENTS, SENDERS

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
SEEDS = [b"MAIL " + one + b"\r\n" for one in SENDERS] + [b"RCPT " + one + b"\r\n" for one in RECIPIENTS] + [
    b"RCPT TO:<a@b> NOTIFY=NEVER ORCPT=utf-8;a\\x{20AC}@b\r\n", b"EHLO [IPv6:::1]\r\n", b'MAIL FROM:<"a\\"b"@[192.0.2.1]>\r\n',
    "MAIL FROM:<ü@bücher.example> SMTPUTF8 AUTH=<>\r\n".encode(), b"From: a@b, \"x\" <c@d>, g: e@f;\r\n",
]  # fmt: skip


def target(data: bytes) -> None:
    for legacy in (False, True):
        try:
            verb, arg = parse_command(data, legacy=legacy)
        except Refused as refused:
            assert refused.reply.lines[0].isprintable()
            continue
        for parse in (helo_text, _mail, _rcpt):
            try:
                parse(arg or "")
            except Refused as refused:
                assert refused.reply.lines[0].isascii()
                assert refused.reply.severity == 5
        assert verb == verb.upper()
    text = data.decode("utf-8", "surrogateescape")
    for one in addresses_in(text):
        assert not CONTROL.search(one)
        domain_of(one)
    literal(text)


def _mail(arg: str) -> None:
    mail = parse_mail(arg)
    if mail.sender:
        _same(mail.sender, null=True)
    assert not CONTROL.search(mail.sender + mail.envid)


def _rcpt(arg: str) -> None:
    for utf8 in (False, True):
        try:
            recipient = parse_rcpt(arg, utf8=utf8, postmaster="postmaster@example.com")
        except Refused:
            continue
        _same(recipient.address, null=False)
        assert not CONTROL.search(recipient.address + recipient.orcpt)


def _same(address: str, *, null: bool) -> None:
    assert parse_path(f"<{address}>", null=null, utf8=True) == (address, "")
    is_route(address)
    try:
        parse_path(address, null=null, utf8=False)
    except AddressError as error:
        assert error.enhanced
