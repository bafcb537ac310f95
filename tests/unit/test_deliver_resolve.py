"""The way to a domain's mail, told over zones written as dictionaries (RFC 5321 §5.1, RFC 7505)."""

import asyncio
import random

import pytest

from relay.core.outcome import Outcome, Phase, Scope, Verdict
from relay.deliver.lookup import Absent, Found, Unknown
from relay.deliver.resolve import Resolver, ResolverSettings, Route

GONE, EMPTY, SERVFAIL = Absent(whole=True), Absent(whole=False), Unknown("192.0.2.53 answered SERVFAIL")
V4, V6 = "8.8.8.8", "2606:4700::1"


class Zone:
    """Answers from a dictionary of (name, type); the rest does not exist. Counts the questions."""

    def __init__(self, records):
        self.records, self.asked, self.now = records, [], 0.0

    async def __call__(self, name, kind):
        self.asked.append((name, kind))
        await asyncio.sleep(0)
        answer = self.records.get((name, kind))
        if answer is None:
            return EMPTY if any(one == name for one, _ in self.records) else GONE
        if isinstance(answer, Absent | Unknown):
            return answer
        ttl_s = 300.0
        if isinstance(answer, tuple):
            answer, ttl_s = answer
        return Found(tuple(one if isinstance(one, tuple) else (0, one) for one in answer), ttl_s)

    def resolver(self, **settings):
        fields = {"hostname": "relay.example.com", **settings}
        dice = random.Random(7)
        return Resolver(ResolverSettings(**fields), lookup=self, clock=lambda: self.now, dice=dice)


def resolve(records, domain="example.net", **settings):
    return asyncio.run(Zone(records).resolver(**settings).resolve(domain))


def told(outcome):
    """Verdict and enhanced code of an outcome that never reached a server."""
    assert isinstance(outcome, Outcome), outcome
    assert (outcome.scope, outcome.phase) == (Scope.DESTINATION, Phase.RESOLVE)
    assert outcome.text
    return outcome.verdict, outcome.status


def mx(*exchangers, **addresses):
    records = {("example.net", "MX"): list(exchangers)}
    for name, found in addresses.items():
        records[f"{name}.example.net", "A"] = found
    return records


def test_exchangers_come_in_order_of_preference():
    route = resolve(mx((20, "b.example.net"), (10, "a.example.net"), a=["8.8.8.8"], b=["9.9.9.9"]))
    assert [(host.name, host.preference, host.addresses) for host in route.hosts] == [
        ("a.example.net", 10, ("8.8.8.8",)),
        ("b.example.net", 20, ("9.9.9.9",)),
    ]
    assert (route.site, route.port, route.guarded) == ("(a|b).example.net", 25, True)


def test_equal_preferences_come_in_random_order():
    async def orders():
        exchangers = ((10, "a.example.net"), (10, "b.example.net"), (5, "c.example.net"))
        records = mx(*exchangers, a=[V4], b=[V4], c=[V4])
        resolver = Zone(records).resolver()
        routes = [await resolver.resolve("example.net") for _ in range(50)]
        return {"".join(host.name[0] for host in route.hosts) for route in routes}

    assert asyncio.run(orders()) == {"cab", "cba"}


def test_ipv4_and_ipv6_take_turns():
    records = {("example.net", "A"): ["8.8.8.8", "9.9.9.9"], ("example.net", "AAAA"): [V6]}
    assert resolve(records).hosts[0].addresses == ("8.8.8.8", V6, "9.9.9.9")
    assert resolve(records, ipv6=False).hosts[0].addresses == ("8.8.8.8", "9.9.9.9")


def test_without_mx_the_domain_is_its_own_host():
    route = resolve({("example.net", "A"): [V4]})
    assert (route.site, route.hosts[0].name, route.hosts[0].preference) == ("example.net", "example.net", 0)


def test_an_exchanger_with_ipv6_alone_will_do():
    records = mx((10, "a.example.net"))
    records["a.example.net", "AAAA"] = [V6]
    assert resolve(records).hosts[0].addresses == (V6,)


@pytest.mark.parametrize("preference", [0, 10])
def test_a_null_mx_takes_no_mail(preference):
    outcome = resolve({("example.net", "MX"): [(preference, "")]})
    assert told(outcome) == (Verdict.FAILED, "5.1.10")
    assert outcome.text.startswith("556 ")


def test_the_root_among_other_exchangers_is_ignored():
    assert resolve(mx((0, ""), (10, "a.example.net"), a=[V4])).hosts[0].name == "a.example.net"


@pytest.mark.parametrize(
    ("records", "verdict", "enhanced"),
    [
        ({}, Verdict.FAILED, "5.1.2"),
        ({("example.net", "TXT"): ["x"]}, Verdict.FAILED, "5.1.2"),
        ({("example.net", "MX"): SERVFAIL}, Verdict.DEFERRED, "4.4.3"),
        ({("example.net", "A"): SERVFAIL}, Verdict.DEFERRED, "4.4.3"),
        ({("example.net", "AAAA"): SERVFAIL}, Verdict.DEFERRED, "4.4.3"),
        (mx((10, "a.example.net")), Verdict.FAILED, "5.4.4"),
        (mx((10, "a.example.net"), a=SERVFAIL), Verdict.DEFERRED, "4.4.3"),
        (mx((10, "a.example.net"), (20, "b.example.net"), a=EMPTY, b=SERVFAIL), Verdict.DEFERRED, "4.4.3"),
        (mx((10, "8.8.8.8")), Verdict.FAILED, "5.4.4"),
        (mx((10, "a.example.net"), a=["127.0.0.1"]), Verdict.DEFERRED, "4.4.4"),
    ],
    ids=["no such domain", "nothing of use", "MX unknown", "A unknown", "AAAA unknown", "no addresses",
         "address unknown", "one of two unknown", "IP as name", "loopback"],
)
def test_trouble_that_may_pass_is_told_from_trouble_that_will_not(records, verdict, enhanced):
    assert told(resolve(records)) == (verdict, enhanced)


def test_an_exchanger_nobody_can_tell_about_is_passed_over():
    route = resolve(mx((10, "a.example.net"), (20, "b.example.net"), a=SERVFAIL, b=[V4]))
    assert [host.name for host in route.hosts] == ["b.example.net"]


def test_addresses_that_are_refused_are_left_out():
    exchangers = ((10, "a.example.net"), (20, "b.example.net"))
    route = resolve(mx(*exchangers, a=["10.0.0.1", V4], b=["::ffff:127.0.0.1"]))
    assert [host.addresses for host in route.hosts] == [(V4,)]
    assert "loopback" in resolve(mx((10, "a.example.net"), a=["127.0.0.1"])).text


def test_listed_addresses_are_used():
    records = mx((10, "a.example.net"), a=["127.0.0.1"])
    assert resolve(records, allow_targets=("127.0.0.0/8",)).hosts[0].addresses == ("127.0.0.1",)


@pytest.mark.parametrize("us", ["name", "address"])
def test_ourselves_and_what_is_not_better_are_dropped(us):
    name = "relay.example.com" if us == "name" else "other.example.net"
    records = mx((10, "a.example.net"), (20, name), (20, "b.example.net"), (30, "c.example.net"),
                 a=[V4], b=[V4], c=[V4])
    records[name, "A"] = ["9.9.9.9"]
    route = resolve(records, addresses=frozenset({"9.9.9.9"}))
    assert [host.name for host in route.hosts] == ["a.example.net"]


def test_mail_for_which_we_are_the_best_exchanger_goes_in_circles():
    by_name = {("example.net", "MX"): [(10, "relay.example.com"), (20, "b.example.net")]}
    assert told(resolve(by_name, hostname="Relay.Example.com")) == (Verdict.FAILED, "5.4.6")
    by_address = mx((10, "a.example.net"), (10, "b.example.net"), a=["9.9.9.9"], b=[V4])
    assert told(resolve(by_address, addresses=frozenset({"9.9.9.9"}))) == (Verdict.FAILED, "5.4.6")
    assert told(resolve({("example.net", "A"): [V4]}, addresses=frozenset({V4}))) == (Verdict.FAILED, "5.4.6")


def test_a_better_exchanger_nobody_can_tell_about_keeps_the_mail_waiting():
    records = mx((10, "a.example.net"), (20, "b.example.net"), a=SERVFAIL, b=["9.9.9.9"])
    assert told(resolve(records, addresses=frozenset({"9.9.9.9"}))) == (Verdict.DEFERRED, "4.4.3")


def test_a_thousand_exchangers_cost_twenty_lookups():
    names = [f"mx{n}.example.net" for n in range(1000)]
    addresses = {(name, "A"): [V4] for name in names}
    zone = Zone({("example.net", "MX"): [(10, name) for name in names], **addresses})
    route = asyncio.run(zone.resolver(ipv6=False).resolve("example.net"))
    assert len(route.hosts) == 20
    assert len(zone.asked) == 21


def test_a_thousand_addresses_are_cut_to_fifty():
    many = [f"8.8.{n // 250}.{n % 250 + 1}" for n in range(1000)]
    route = resolve(mx((10, "a.example.net"), (20, "b.example.net"), a=many, b=many))
    assert sum(len(host.addresses) for host in route.hosts) == 50


@pytest.mark.parametrize(
    ("literal", "address"), [("[8.8.8.8]", "8.8.8.8"), ("[ipv6:2606:4700::1]", "2606:4700::1")]
)
def test_an_address_literal_names_its_host(literal, address):
    route = resolve({}, literal)
    assert (route.site, route.hosts[0].addresses) == (literal, (address,))


@pytest.mark.parametrize(
    ("literal", "status"), [("[127.0.0.1]", "4.4.4"), ("[9.9.9.9]", "5.4.6"), ("[example]", "5.1.2")]
)
def test_an_address_literal_we_will_not_use(literal, status):
    assert told(resolve({}, literal, addresses=frozenset({"9.9.9.9"})))[1] == status


def test_routes_are_kept_for_their_time():
    async def scenario(ttl_s, *times):
        zone = Zone({("example.net", "A"): ([V4], ttl_s)})
        resolver, kept = zone.resolver(), []
        for zone.now in times:
            before = len(zone.asked)
            await resolver.resolve("example.net")
            kept.append(len(zone.asked) == before)
        return kept

    assert asyncio.run(scenario(5.0, 0.0, 59.0, 61.0)) == [False, True, False]
    assert asyncio.run(scenario(300.0, 0.0, 299.0, 301.0)) == [False, True, False]
    assert asyncio.run(scenario(86400.0, 0.0, 3599.0, 3601.0)) == [False, True, False]


def test_a_route_is_not_kept_longer_than_the_addresses_in_it():
    async def scenario():
        zone = Zone({("a.test", "MX"): [(1, "mx.test")], ("b.test", "MX"): [(1, "mx.test")],
                     ("mx.test", "A"): [V4]})
        resolver = zone.resolver(ipv6=False)
        for zone.now, domain in ((0.0, "a.test"), (200.0, "b.test"), (301.0, "b.test")):
            await resolver.resolve(domain)
        return zone.asked.count(("mx.test", "A"))

    assert asyncio.run(scenario()) == 2


def test_trouble_is_kept_for_seconds_only():
    async def scenario():
        zone = Zone({("example.net", "MX"): SERVFAIL})
        resolver = zone.resolver()
        for zone.now in (0.0, 14.0, 16.0):
            await resolver.resolve("example.net")
        resolver.forget()
        await resolver.resolve("example.net")
        await resolver.close()
        return len(zone.asked)

    assert asyncio.run(scenario()) == 3


def test_domains_on_the_same_exchangers_share_site_and_addresses():
    async def scenario():
        zone = Zone({("a.test", "MX"): [(1, "mx.host.test")], ("b.test", "MX"): [(9, "mx.host.test")],
                     ("mx.host.test", "A"): [V4]})
        resolver = zone.resolver()
        routes = await asyncio.gather(*(resolver.resolve(name) for name in ("a.test", "b.test", "a.test")))
        asked = [zone.asked.count(one) for one in (("mx.host.test", "A"), ("a.test", "MX"))]
        return {route.site for route in routes}, asked

    assert asyncio.run(scenario()) == ({"mx.host.test"}, [1, 1])


def fixed(records, host, port=587):
    return asyncio.run(Zone(records).resolver().fixed_route(host, port))


def test_a_smarthost_is_used_as_it_is_named():
    route = fixed({("mail.lan", "A"): ["10.0.0.9"], ("mail.lan", "MX"): [(1, "no")]}, "mail.lan")
    assert isinstance(route, Route)
    assert (route.site, route.port, route.guarded) == ("mail.lan:587", 587, False)
    assert route.hosts[0].addresses == ("10.0.0.9",)
    assert fixed({}, "127.0.0.1", 2525).hosts[0].addresses == ("127.0.0.1",)
    assert fixed({}, "[::1]", 2525).hosts[0].addresses == ("::1",)


@pytest.mark.parametrize("records", [{}, {("mail.lan", "A"): SERVFAIL}])
def test_mail_waits_for_a_smarthost_that_is_not_found(records):
    assert told(fixed(records, "mail.lan")) == (Verdict.DEFERRED, "4.4.3")
