"""The model Internet, seen with other clients than our own: it does what its providers are said to do."""

import asyncio
import smtplib
import time

import dns.message
import dns.query
import dns.rcode
import pytest

from tests.bench.source import Campaign, send
from tests.internet.behaviour import BUSY, GREY, Cap, Greylist, Pace, Provider, crowd
from tests.internet.internet import Internet
from tests.peers.place import Place

MAIL = "Subject: x\r\n\r\n.dots\r\n"


@pytest.fixture
def internet():
    started, place = [], Place()

    def start(*providers):
        started.append(Internet(place, providers))
        return started[-1]

    yield start
    for one in started:
        one.stop()
    place.close()


def connect(one, domain):
    return smtplib.SMTP(one.address(domain), one.place.port, timeout=10)


def test_it_takes_mail_and_knows_who_was_there_when(internet):
    one = internet(Provider("big", ("a.test", "b.test"), hosts=2))
    before = time.monotonic()
    with connect(one, "a.test") as smtp:
        smtp.sendmail("me@c.test", ["you@a.test", "they@b.test"], MAIL)
        smtp.sendmail("me@c.test", "you@a.test", MAIL)
    first, second = one.wait_for_mail("you@", 2)
    assert (first.sender, first.recipients, first.host) == ("me@c.test", ("you@a.test", "they@b.test"), "mx0.big.test")
    assert before < first.at <= first.answered < second.at < time.monotonic()
    [visit] = one.wait(lambda facts: [one for one in facts.visits.values() if one.closed < 1e99], "the goodbye")
    assert before < visit.opened < first.at < second.at < visit.closed
    assert (first.session, first.client) == (second.session, "127.0.0.1")
    assert first.size == len(b"Subject: x\r\n\r\n..dots\r\n")


def test_a_provider_counts_over_all_its_hosts(internet):
    one = internet(Provider("big", ("a.test",), hosts=2, cap=Cap(2)), *crowd("other", 1))
    first, second = one.addresses["mx0.big.test"], one.addresses["mx1.big.test"]
    with smtplib.SMTP(first, one.place.port), smtplib.SMTP(second, one.place.port):
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            smtplib.SMTP(second, one.place.port)
        assert refused.value.smtp_error.decode() == BUSY[4:]
        with connect(one, "other0.test") as smtp:
            smtp.sendmail("me@c.test", "you@other0.test", MAIL)
    with connect(one, "a.test") as smtp:
        smtp.sendmail("me@c.test", "you@a.test", MAIL)
    one.wait_for_mail("you@a.test", 1)
    facts = one.facts
    assert [(refusal.phase, refusal.reply) for refusal in facts.refusals] == [("banner", BUSY)]
    assert (facts.open_most(["mx0.big.test", "mx1.big.test"]), facts.open_most(["mx0.other0.test"])) == (3, 1)
    assert facts.open_most(client="192.0.2.1") == 0


def test_it_thinks_as_long_as_it_is_told(internet):
    one = internet(Provider("slow", ("s.test",), banner_s=0.2, message_s=0.3))
    before = time.monotonic()
    with connect(one, "s.test") as smtp:
        assert time.monotonic() - before >= 0.2
        smtp.sendmail("me@c.test", "you@s.test", MAIL)
    [receipt] = one.wait_for_mail("you@", 1)
    assert 0.3 <= receipt.answered - receipt.at < 1


def test_it_refuses_by_pace_and_greylist(internet):
    one = internet(Provider("strict", ("s.test",), pace=Pace(0.001, burst=2), greylist=Greylist(0.1)))
    with connect(one, "s.test") as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            smtp.sendmail("me@c.test", "you@s.test", MAIL)
        assert refused.value.recipients["you@s.test"] == (450, GREY[4:].encode())
        time.sleep(0.1)
        smtp.sendmail("me@c.test", "you@s.test", MAIL)
        with pytest.raises(smtplib.SMTPSenderRefused):
            smtp.sendmail("me@c.test", "you@s.test", MAIL)
    refusals = one.wait(lambda facts: len(facts.refusals) == 2 and facts.refusals, "both refusals")
    assert [refusal.phase for refusal in refusals] == ["rcpt", "mail"]


def test_its_names_are_in_the_dns(internet):
    one = internet(Provider("big", ("a.test",), hosts=2))
    address, _, port = one.server.rpartition(":")

    def ask(name, kind):
        return dns.query.udp(dns.message.make_query(name, kind), address, port=int(port), timeout=5)

    [exchangers] = ask("a.test", "MX").answer
    assert sorted(record.to_text() for record in exchangers) == ["10 mx0.big.test.", "20 mx1.big.test."]
    [addresses] = ask("mx1.big.test", "A").answer
    assert addresses[0].to_text() == one.addresses["mx1.big.test"]
    assert (ask("a.test", "AAAA").answer, ask("a.test", "AAAA").rcode()) == ([], dns.rcode.NOERROR)
    assert ask("nobody.test", "MX").rcode() == dns.rcode.NXDOMAIN


def test_it_takes_a_flood(internet):
    """Well above what any server under test reaches, so that it is never what is measured."""
    one = internet(*crowd("fast", 1))
    campaign = Campaign(one.place.port, 2000, ["fast0.test"], host=one.address("fast0.test"))
    assert asyncio.run(send(campaign))["taken"] == 2000
    receipts = one.wait(lambda facts: len(facts.receipts) == 2000 and facts.receipts, "all of it")
    assert receipts[-1].at - receipts[0].at < 10
    assert one.facts.open_most() == 10
    assert len(one.facts.to("news")) == 2000
    print(f"{2000 / (receipts[-1].at - receipts[0].at):.0f} messages a second, as the sender is in the way")
