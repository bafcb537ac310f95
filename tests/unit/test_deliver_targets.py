"""Where mail may not go."""

import pytest

from relay.deliver.targets import TargetGuard

PUBLIC = ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_connected_to(address):
    assert TargetGuard().refusal(address) is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback"), ("127.8.9.10", "loopback"), ("::1", "loopback"),
        ("10.1.2.3", "private"), ("172.31.0.1", "private"), ("192.168.0.1", "private"),
        ("fd00::1", "private"), ("fec0::1", "private"),
        ("169.254.169.254", "link-local"), ("fe80::1", "link-local"), ("fe80::1%eth0", "link-local"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("224.0.0.1", "multicast"), ("ff02::1", "multicast"), ("255.255.255.255", "broadcast"),
        ("0.0.0.0", "unspecified"), ("::", "unspecified"), ("240.0.0.1", "reserved"),
        ("::ffff:127.0.0.1", "loopback"), ("::ffff:10.0.0.1", "private"),
        ("2002:7f00:1::", "loopback"), ("2002:a00:1::1", "private"),
        ("64:ff9b::7f00:1", "loopback"), ("64:ff9b::a9fe:a9fe", "link-local"), ("64:ff9b:1::1", "private"),
        ("::127.0.0.1", "loopback"), ("::10.0.0.1", "private"),
        ("2001:0:808:808::f5ff:fffe", "private"),  # Teredo of 10.0.0.1
    ],
)
def test_other_addresses_are_refused_with_the_reason(address, reason):
    assert f"{address} is a {reason} address" in (TargetGuard().refusal(address) or "")


def test_what_is_no_address_is_refused():
    assert TargetGuard().refusal("mx.example.com") == "mx.example.com is not an IP address"


def test_listed_networks_may_be_connected_to():
    guard = TargetGuard(["127.0.0.0/8", "fd00::/8"])
    assert guard.refusal("127.0.0.9") is None
    assert guard.refusal("::ffff:127.0.0.9") is None
    assert guard.refusal("fd00::9") is None
    assert guard.refusal("10.0.0.1") is not None


def test_a_wrong_network_is_an_error():
    with pytest.raises(ValueError, match="does not appear to be"):
        TargetGuard(["127.0.0.0/64"])
