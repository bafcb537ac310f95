"""The peers themselves: a measuring instrument is checked before it measures."""

import asyncio
import smtplib

import dkim
import pytest

from relay.core.outcome import Outcome
from relay.deliver.lookup import Absent, Found, Lookup, Unknown
from relay.deliver.resolve import Resolver, ResolverSettings
from tests.peers.zones import MANY

pytestmark = pytest.mark.peers


def look(names, name, kind, **times):
    return asyncio.run(Lookup([names.server], **{"timeout_s": 2, "lifetime_s": 5, **times})(name, kind))


def resolve(names, place, domain, **settings):
    async def ask():
        fields = {"servers": (names.server,), "port": place.port, "allow_targets": ("127.0.0.0/8",)}
        return await Resolver(ResolverSettings("relay.shop.test", **fields, **settings)).resolve(domain)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("name", "kind", "answer"),
    [
        ("postfix.test", "MX", Found(((10, "mx.postfix.test"),), 60.0)),
        ("null.odd.test", "MX", Found(((0, ""),), 60.0)),
        ("mx.mapped.odd.test", "AAAA", Found(((0, "::ffff:10.255.255.1"),), 60.0)),
        ("nothing.odd.test", "MX", Absent(whole=False)),
        ("nowhere.odd.test", "MX", Absent(whole=True)),
        ("x" * 64 + ".test", "MX", Absent(whole=True)),
    ],
)
def test_a_real_name_server_is_understood(names, name, kind, answer):
    assert look(names, name, kind) == answer


def test_aliases_are_followed_across_zones(names, place):
    assert look(names, "alias.odd.test", "MX") == Found(((10, "mx.r10.receivers.test"),), 60.0)
    assert look(names, "alias.aliasmx.odd.test", "A") == Found(((0, place.address(10)),), 60.0)


def test_a_long_answer_comes_over_tcp(names):
    assert len(look(names, "many.odd.test", "MX").records) == MANY


SYMPTOMS = [("a.broken.test", "SERVFAIL"), ("elsewhere.example", "REFUSED")]


@pytest.mark.parametrize(("name", "symptom"), SYMPTOMS)
def test_what_a_server_will_not_say_is_unknown(names, name, symptom):
    answer = look(names, name, "MX")
    assert answer == Unknown(f"{names.address}@{names.port} answered {symptom}")


def test_a_server_that_is_silent_leaves_it_unknown(place):
    answer = asyncio.run(Lookup([f"{place.address(99)}:53"], timeout_s=0.2, lifetime_s=0.5)("a.test", "MX"))
    assert isinstance(answer, Unknown)


@pytest.mark.parametrize(
    ("domain", "enhanced"),
    [
        ("null.odd.test", "5.1.10"), ("nowhere.odd.test", "5.1.2"), ("nothing.odd.test", "5.1.2"),
        ("a.broken.test", "4.4.3"), ("halfbroken.odd.test", "4.4.3"), ("unaddressed.odd.test", "5.4.4"),
        ("literal.odd.test", "5.4.4"), ("private.odd.test", "4.4.4"), ("mapped.odd.test", "4.4.4"),
        ("self.odd.test", "5.4.6"),
    ],
)
def test_domains_without_a_way_say_why(names, place, domain, enhanced):
    outcome = resolve(names, place, domain)
    assert isinstance(outcome, Outcome)
    assert outcome.status == enhanced


def test_domains_with_a_way_show_it(names, place):
    route = resolve(names, place, "backup.odd.test")
    assert [host.addresses for host in route.hosts] == [(place.address(250),), (place.address(10),)]
    assert route.port == place.port
    assert resolve(names, place, "second.test").site == resolve(names, place, "postfix.test").site
    assert len(resolve(names, place, "many.odd.test").hosts) == 20


def test_postfix_verifies_with_opendkim_and_keeps_the_body(postfix, keys):
    body = "Grüße\r\n..dots\r\n\r\n  spaces  \r\n".encode()
    message = b"From: a@shop.test\r\nTo: b@postfix.test\r\nSubject: signed by hand\r\n\r\n" + body
    signature = dkim.sign(message, b"t1", b"shop.test", keys["t1"].pem, canonicalize=(b"relaxed", b"relaxed"))
    with smtplib.SMTP(postfix.address, postfix.port) as smtp:
        smtp.sendmail("a@shop.test", "b@postfix.test", signature + message)
        smtp.sendmail("a@shop.test", "b@postfix.test", signature + message.replace(b"signed", b"forged"))
    (good,), (forged,) = postfix.wait("signed by hand"), postfix.wait("forged by hand")
    assert (good.dkim, good.body, good.recipient) == (["pass"], body, "b@postfix.test"), good.raw.decode()
    assert forged.dkim == ["fail"]
