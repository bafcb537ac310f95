"""What a stranger may write into DNS: nothing of it makes the relay speak to itself, its network, or for ever."""

from __future__ import annotations

import asyncio

import pytest

from relay.core.outcome import Outcome, Trouble, Verdict
from relay.deliver.resolve import MAX_ADDRESSES, MAX_HOSTS, Route
from tests.unit.test_deliver_resolve import GONE, SERVFAIL, V4, Zone, mx, resolve

FORBIDDEN = [
    "127.0.0.1", "127.255.0.9", "0.0.0.0", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255",
]  # fmt: skip
FORBIDDEN_V6 = [
    "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_mx_to_loopback_private_or_link_local_is_not_a_target(address: str) -> None:
    outcome = resolve(mx((10, "a.example.net"), a=[address]))
    assert isinstance(outcome, Outcome)
    assert (outcome.trouble, outcome.verdict) == (Trouble.TARGET_FORBIDDEN, Verdict.DEFERRED)


@pytest.mark.parametrize("address", FORBIDDEN_V6)
def test_nor_one_to_mapped_or_translated_ipv6(address: str) -> None:
    outcome = resolve({("example.net", "MX"): [(10, "a.example.net")], ("a.example.net", "AAAA"): [address]})
    assert isinstance(outcome, Outcome)
    assert outcome.trouble is Trouble.TARGET_FORBIDDEN


@pytest.mark.parametrize("address", FORBIDDEN)
def test_only_the_good_addresses_of_a_host_are_left(address: str) -> None:
    route = resolve(mx((10, "a.example.net"), a=[address, V4]))
    assert isinstance(route, Route)
    assert route.hosts[0].addresses == (V4,)


def test_an_implicit_mx_is_checked_too() -> None:
    outcome = resolve({("example.net", "A"): ["127.0.0.1"]})
    assert isinstance(outcome, Outcome)
    assert outcome.trouble is Trouble.TARGET_FORBIDDEN


@pytest.mark.parametrize("domain", ["[127.0.0.1]", "[ipv6:::1]", "[ipv6:::ffff:127.0.0.1]", "[10.0.0.1]", "[ipv6:x]"])
def test_an_address_literal_is_checked_too(domain: str) -> None:
    assert isinstance(resolve({}, domain), Outcome)


def test_ourselves_by_name_or_by_address_is_a_loop() -> None:
    by_name = resolve(mx((10, "relay.example.com"), (20, "b.example.net"), b=[V4]))
    by_address = resolve(mx((10, "a.example.net"), a=[V4]), addresses=frozenset({V4}))
    for outcome in (by_name, by_address):
        assert isinstance(outcome, Outcome)
        assert outcome.trouble is Trouble.LOOP


def test_a_null_mx_is_final() -> None:
    outcome = resolve(mx((0, "")))
    assert isinstance(outcome, Outcome)
    assert (outcome.trouble, outcome.verdict) == (Trouble.NULL_MX, Verdict.FAILED)


def test_a_dot_among_others_is_no_null_mx() -> None:
    route = resolve(mx((0, ""), (10, "a.example.net"), a=[V4]))
    assert isinstance(route, Route)
    assert [host.name for host in route.hosts] == ["a.example.net"]


def test_a_thousand_records_cost_twenty_questions() -> None:
    names = [f"h{number}.example.net" for number in range(1000)]
    zone = Zone({("example.net", "MX"): [(10, name) for name in names]} | {
        (name, "A"): [f"8.8.{number // 256}.{number % 256}" for number in range(1000)] for name in names
    })  # fmt: skip
    route = asyncio.run(zone.resolver().resolve("example.net"))
    assert isinstance(route, Route)
    assert len(zone.asked) <= 1 + 2 * MAX_HOSTS
    assert sum(len(host.addresses) for host in route.hosts) <= MAX_ADDRESSES


def test_servfail_waits_and_nxdomain_bounces() -> None:
    waits, bounces = resolve({("example.net", "MX"): SERVFAIL}), resolve({("example.net", "MX"): GONE})
    assert isinstance(waits, Outcome)
    assert isinstance(bounces, Outcome)
    assert (waits.verdict, bounces.verdict) == (Verdict.DEFERRED, Verdict.FAILED)
    of_host = resolve({("example.net", "MX"): [(10, "a.example.net")], ("a.example.net", "A"): SERVFAIL})
    assert isinstance(of_host, Outcome)
    assert of_host.verdict is Verdict.DEFERRED
