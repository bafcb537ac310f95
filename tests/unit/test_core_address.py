"""Addresses: what RFC 5321 §4.1.2 allows, what is refused, and that nothing but AddressError comes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.address import (
    ONE_ADDRESS,
    AddressError,
    _addresses_among,
    address_in,
    addresses_in,
    domain_of,
    is_route,
    literal,
    parse_path,
)

GOOD = [
    ("<a@b>", "a@b", ""),
    ("<a@b> SIZE=1", "a@b", "SIZE=1"),
    ("<a@b>  SIZE=1 BODY=7BIT ", "a@b", "SIZE=1 BODY=7BIT"),
    (" <a.b+c=d@sub.example.com>", "a.b+c=d@sub.example.com", ""),
    ("a@b SIZE=1", "a@b", "SIZE=1"),
    ("< a@b >", "a@b", ""),
    ("<!#$%&'*+-/=?^_`{|}~@example.com>", "!#$%&'*+-/=?^_`{|}~@example.com", ""),
    ('<"a b"@c> X', '"a b"@c', "X"),
    ('<"<>"@c>', '"<>"@c', ""),
    ('<"\\"\\\\"@c>', '"\\"\\\\"@c', ""),
    ('<""@c>', '""@c', ""),
    ('"a b"@c X', '"a b"@c', "X"),
    ("<a@[192.0.2.1]>", "a@[192.0.2.1]", ""),
    ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""),
    ("<a@my_host>", "a@my_host", ""),
    ("<a@123.example>", "a@123.example", ""),
    (f"<{'a' * 64}@b>", f"{'a' * 64}@b", ""),
    (f"<a@{'b' * 63}.c>", f"a@{'b' * 63}.c", ""),
    ("<Postmaster>", "Postmaster", ""),
    ("<@a,@b:x@c> SIZE=1", "x@c", "SIZE=1"),
    ("<@a.example:x@c>", "x@c", ""),
    ('<@a:"x y"@c>', '"x y"@c', ""),
    ("@a:x@c", "x@c", ""),
]


@pytest.mark.parametrize(("text", "address", "rest"), GOOD)
def test_addresses_come_as_sent_with_their_parameters(text: str, address: str, rest: str) -> None:
    assert parse_path(text, null=False, utf8=False) == (address, rest)


@pytest.mark.parametrize("text", ["<>", "<> SIZE=1", "< >"])
def test_the_null_path_is_for_mail_only(text: str) -> None:
    assert parse_path(text, null=True, utf8=False)[0] == ""
    with pytest.raises(AddressError):
        parse_path(text, null=False, utf8=False)


@pytest.mark.parametrize("text", ["", " ", " SIZE=1"])
def test_an_empty_path_without_brackets_is_no_null_sender(text: str) -> None:
    """A program whose sender is unset would never hear of a bounce."""
    with pytest.raises(AddressError):
        parse_path(text, null=True, utf8=False)


BAD = [
    ("", "missing"),
    ("<a", "between < and >"),
    ("<a@b>x", "a space must follow"),
    ("<a b@c>", "not well formed"),
    ("<a@b@c>", "not well formed"),
    ("<a..b@c>", "not well formed"),
    ("<.a@c>", "not well formed"),
    ("<@c>", "before the @ is missing"),
    ("<a@>", "domain is not well formed"),
    ("<a@b..c>", "domain is not well formed"),
    ("<a@-b>", "domain is not well formed"),
    ("<a@b->", "domain is not well formed"),
    ("<a@b,c>", "domain is not well formed"),
    ("<user>", "needs a domain"),
    ('<"user@example.com">', "not well formed"),
    ("<@a,b:x@c>", "not well formed"),
    ("<@a,@:x@c>", "not well formed"),
    ("<@:x@c>", "not well formed"),
    ("<@a:@b:x@c>", "not well formed"),
    ("<@a:>", "missing"),
    ("<@a:x>", "needs a domain"),
    ("<@a:postmaster>", "needs a domain"),
    (f"<{'a' * 65}@b>", "longer than 64"),
    (f"<a@{'.'.join(['b' * 60] * 5)}>", "longer than 256"),
    (f"<{'a' * 64}@{'.'.join(['b' * 47] * 4)}>", "longer than 256"),
    (f"<a@{'b' * 64}.c>", "label"),
    ("<a@[192.0.2.256]>", "literal"),
    ("<a@[IPv6:zz]>", "literal"),
    ("<a@[2001:db8::1]>", "literal"),
    ("<a\x00@b>", "control"),
    ("<a@b\r\n>", "control"),
    ('<"a\x01"@b>', "control"),
    ("<a\udce9@b>", "control"),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_what_is_no_address_is_refused_in_words(text: str, reason: str) -> None:
    for null, enhanced in ((True, "5.1.7"), (False, "5.1.3")):
        if not text and null:
            continue
        with pytest.raises(AddressError, match=reason) as caught:
            parse_path(text, null=null, utf8=False)
        assert caught.value.enhanced == enhanced
        assert reason in caught.value.reason


def test_beyond_ascii_needs_smtputf8() -> None:
    with pytest.raises(AddressError) as caught:
        parse_path("<jörg@example.com>", null=True, utf8=False)
    assert caught.value.enhanced == "5.6.7"
    assert parse_path("<jörg@bücher.example> X", null=True, utf8=True) == ("jörg@bücher.example", "X")


@pytest.mark.parametrize("text", ["<a@bü..e>", "<a@xn--ü.example>", "<a@\u2488com>", f"<a@{'ü' * 130}>"])
def test_international_domains_must_be_valid(text: str) -> None:
    with pytest.raises(AddressError):
        parse_path(text, null=False, utf8=True)


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("a@Example.COM", "example.com"),
        ("", ""),
        ("postmaster", ""),
        ('"a@b"@c', "c"),
        ("a@Bücher.example", "xn--bcher-kva.example"),
        ("a@straße.example", "xn--strae-oqa.example"),  # IDNA 2008: not strasse
        ("a@ü..x", "ü..x"),
    ],
)
def test_domain_of(address: str, domain: str) -> None:
    assert domain_of(address) == domain


@pytest.mark.parametrize("address", ["a%b@c", "a!b@c", '"a@b"@c', "%@c"])
def test_what_another_system_might_read_as_a_route(address: str) -> None:
    assert is_route(address)


@pytest.mark.parametrize("address", ["a@c", "", "a+b=c@d", "a@c%d"])
def test_what_nobody_reads_as_a_route(address: str) -> None:
    assert not is_route(address)


def test_literals() -> None:
    assert str(literal("[192.0.2.1]")) == "192.0.2.1"
    assert str(literal("[ipv6:2001:DB8::1]")) == "2001:db8::1"
    assert literal("example.com") is None
    assert literal("[example]") is None


HEADERS = [
    ("a@b", ["a@b"]),
    ("Ann <a@b>", ["a@b"]),
    ('"Ann, the \\"b@c\\" one" <a@b>', ["a@b"]),
    ("a@b (Ann (or x@y))", ["a@b"]),
    ("<a@b>, Bob <c@d>; e@f", ["a@b", "c@d", "e@f"]),
    ("Team: a@b, c@d;", ["a@b", "c@d"]),
    ("undisclosed-recipients:;", []),
    ("", []),
    ("Ann", []),
    ("Ann <>", []),
    ("x@y <a@b>", ["a@b"]),
    ("<a@b> x@y", ["a@b"]),
    ("<@r,@s:a@b>", ["a@b"]),
    ('"a b"@c', ['"a b"@c']),
    ("a . b @ c", ["a.b@c"]),
    ("Ann <a@b", []),
    ("a)@b", ["a)@b"]),
    ("a\x01@b", []),
    ("a\\,b@c", ["a\\,b@c"]),
    ("Ann > a@b", ["Ann>a@b"]),
    ("<a:b@c>", ["a:b@c"]),
]


@pytest.mark.parametrize(("value", "found"), HEADERS)
def test_addresses_in_header_values(value: str, found: list[str]) -> None:
    assert addresses_in(value) == found
    assert address_in(value) == (found[0] if found else "")


@given(st.text("a@b. \"<>,;:()\\\x01\x85\u2003é\udc80\n", max_size=30))
def test_the_way_for_common_header_values_finds_what_the_other_one_does(value: str) -> None:
    assert addresses_in(value) == _addresses_among(value)


@pytest.mark.parametrize("value", ["a@b", " Ann <a@b>", '"Shop, Inc." <news@shop.example>', "<é@b>"])
def test_common_header_values_take_the_short_way(value: str) -> None:
    assert ONE_ADDRESS.fullmatch(value)


def test_a_header_value_of_any_length_is_read_in_bounded_time() -> None:
    assert address_in("(" * 1_000_000 + "a@b") == ""
    assert address_in('"' * 1_000_001) == ""


PARTS = st.sampled_from([*'<>@"\\. :,[]%', "a", "b.c", "ü", "\0", "\r"])


@given(st.lists(PARTS, max_size=30).map("".join) | st.text(max_size=60), st.booleans(), st.booleans())
def test_nothing_but_address_errors(text: str, null: bool, utf8: bool) -> None:
    try:
        address, rest = parse_path(text, null=null, utf8=utf8)
    except AddressError:
        return
    assert address.isprintable()
    assert len(address.encode()) <= 254
    assert utf8 or address.isascii()
    assert address == "" if null and not address else "@" in address or address.lower() == "postmaster"
    assert rest == rest.strip(" ")
    # said again with brackets, it is the same address
    assert parse_path(f"<{address}>", null=null, utf8=utf8) == (address, "")


@given(st.lists(PARTS | st.sampled_from(["(", ")", ";"]), max_size=40).map("".join) | st.text(max_size=80))
def test_header_values_never_raise(value: str) -> None:
    for found in addresses_in(value):
        assert "@" in found
        assert "\r" not in found
        assert "\0" not in found
