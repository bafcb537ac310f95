"""Who may send and as whom; and what a login costs."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest

from relay.core.envelope import Client
from relay.inbound.access import MAX_CHECKS, PROVED_S, Access
from relay.inbound.credentials import Credential, hash_password
from relay.inbound.refusals import Refused
from relay.inbound.settings import ListenerSettings, neighbourhood, networks, within

SHOP = Credential("shop", hash_password("sesame"), senders=("*@shop.example.com",))
FAR = Credential("far", SHOP.hash, networks=networks(["192.0.2.0/24"]))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(clock: Clock) -> Iterator[Access]:
    one = Access({"shop": SHOP, "far": FAR}, senders={"apps": ("*@*.example.com",)}, clock=clock)
    yield one
    one.close()


def login(access: Access, name: str, password: str, address: str = "10.0.0.1") -> Credential | str:
    async def ask() -> Credential | str:
        try:
            return await access.authenticate(name, password, address)
        except Refused as refused:
            return refused.reason

    return asyncio.run(ask())


def test_right_and_wrong(access: Access) -> None:
    assert login(access, "shop", "sesame") is SHOP
    assert login(access, "shop", "wrong") == "auth-failed"
    assert login(access, "nobody", "sesame") == "auth-failed"


@pytest.mark.parametrize("password", ["x" * 2000, "\udcff", "", "ses\0ame"])
def test_odd_passwords_are_only_wrong(access: Access, password: str) -> None:
    assert login(access, "shop", password) == "auth-failed"
    assert login(access, "\udcff", "sesame", "10.0.0.2") == "auth-failed"


def test_a_credential_may_be_bound_to_networks(access: Access) -> None:
    assert login(access, "far", "sesame", "10.0.0.1") == "auth-failed"
    assert login(access, "far", "sesame", "192.0.2.9") is FAR


def test_a_proved_password_is_not_checked_again(access: Access, clock: Clock) -> None:
    checks = []

    async def check(hashed: str, password: str) -> bool:
        checks.append(password)
        return password == "sesame"

    access._check = check  # type: ignore[method-assign]
    assert login(access, "shop", "sesame") is SHOP
    assert login(access, "shop", "sesame") is SHOP
    assert len(checks) == 1
    clock.now += PROVED_S + 1
    login(access, "shop", "sesame")
    assert len(checks) == 2
    access.replace({"shop": SHOP}, {})
    login(access, "shop", "sesame")
    assert len(checks) == 3


def test_guessing_is_refused_in_the_end_but_a_proved_client_goes_on(access: Access, clock: Clock) -> None:
    login(access, "shop", "sesame")

    async def never(hashed: str, password: str) -> bool:
        return False

    access._check = never  # type: ignore[method-assign]
    for number in range(3):
        assert login(access, "shop", f"guess {number}") == "auth-failed"
    for key in ("a:10.0.0.1", "n:shop"):
        access.backoff._records[key].next_at = clock.now + 60
    assert login(access, "shop", "guess") == "auth-throttled"
    assert login(access, "shop", "sesame") is SHOP


def test_senders_of_credential_and_listener_are_both_fences(access: Access) -> None:
    access.check_sender("apps", "shop", "a@shop.example.com")
    access.check_sender("apps", "", "a@x.example.com")
    access.check_sender("other", "", "a@anywhere.example")
    access.check_sender("apps", "shop", "")
    denied = [("shop", "a@x.example.com"), ("", "a@example.org"), ("gone", "a@x.example.com")]
    for credential, address in denied:
        with pytest.raises(Refused, match="sender-denied"):
            access.check_sender("apps", credential, address)


def test_the_from_field_is_held_to_the_same_rights(access: Access) -> None:
    client = Client("10.0.0.1", 1, "x", "apps", credential="shop")
    assert access.check_from(client, "Orders@Shop.Example.com") is None
    refusal = access.check_from(client, "ceo@example.com")
    assert refusal is not None
    assert (refusal.code, refusal.enhanced) == (550, "5.7.1")
    assert "ceo@example.com" in refusal.text
    assert access.check_from(client, "") is not None


def test_networks() -> None:
    listed = networks(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::5", "192.0.2.7"):
        assert within(address, listed), address
    for address in ("11.0.0.1", "2001:db9::1", "192.0.2.8", "", "unix", "fe80::1%eth0"):
        assert not within(address, listed), address
    assert not within("10.0.0.1", ())
    with pytest.raises(ValueError, match="nonsense"):
        networks(["nonsense"])


def test_clear_text_passwords_are_for_legacy_listeners_unless_said_otherwise() -> None:
    assert not ListenerSettings("a", "h").clear_auth
    assert ListenerSettings("a", "h", profile="legacy").clear_auth
    assert ListenerSettings("a", "h", auth_clear=True).clear_auth
    assert not ListenerSettings("a", "h", profile="legacy", auth_clear=False).clear_auth


def test_an_ipv6_host_is_its_whole_network() -> None:
    assert neighbourhood("10.0.0.1") == "10.0.0.1"
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff") == "2001:db8::/64"
    assert neighbourhood("fe80::1%eth0") == "fe80::/64"
    assert neighbourhood("no:address") == "no:address"


def test_a_proof_counts_only_while_the_credential_stands(access: Access) -> None:
    assert access.holds(SHOP)
    access.replace({"shop": dataclasses.replace(SHOP, senders=("*",))}, {})
    assert access.holds(SHOP)
    access.replace({"shop": dataclasses.replace(SHOP, hash="$argon2id$other")}, {})
    assert not access.holds(SHOP)
    access.replace({}, {})
    assert not access.holds(SHOP)
    client = Client("10.0.0.1", 1, "x", "apps", credential="shop")
    assert access.check_from(client, "a@shop.example.com") is not None


def test_checks_do_not_pile_up(access: Access) -> None:
    for _ in range(MAX_CHECKS):
        assert access.checks.take(MAX_CHECKS)
    assert login(access, "shop", "sesame") == "auth-throttled"
    access.checks.give()
    assert login(access, "shop", "sesame") == SHOP
    assert not access.checks.take(MAX_CHECKS - 1), "it was counted off again"


def test_proofs_are_bounded_and_a_reload_meanwhile_leaves_none(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.inbound.access.MAX_PROVED", 1)
    access.replace({"shop": SHOP, "other": Credential("other", SHOP.hash)}, {})
    login(access, "shop", "sesame")
    login(access, "other", "sesame")
    assert len(access._proved) == 1

    async def reload(hashed: str, password: str) -> bool:
        access.replace({}, {})
        return True

    access._check = reload  # type: ignore[method-assign]
    login(access, "shop", "sesame")
    assert len(access._proved) == 0
