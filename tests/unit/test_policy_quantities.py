"""Quantities as people write them, and the words for what is none."""
# ruff: noqa: E501 - tables of messages as people see them

from ipaddress import ip_network

import pytest

from relay.policy import quantities as q


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (q.parse_duration, "30s", 30), (q.parse_duration, "1m", 60), (q.parse_duration, "2h", 7200),
        (q.parse_duration, "1h30m", 5400), (q.parse_duration, "3d", 259200), (q.parse_duration, "500ms", 0.5),
        (q.parse_duration, "1.5h", 5400),
        (q.parse_size, 4096, 4096), (q.parse_size, "100k", 100_000), (q.parse_size, "100KiB", 102_400),
        (q.parse_size, "50MiB", 50 << 20), (q.parse_size, "1MB", 10**6), (q.parse_size, "1.5G", 15 * 10**8),
        (q.parse_size, "17", 17), (q.parse_size, "17B", 17), (q.parse_size, "1Mi", 1 << 20),
        (q.parse_percent, "50%", 0.5), (q.parse_percent, "0 %", 0.0), (q.parse_percent, "100%", 1.0),
        (q.parse_rate, "10/s", 10), (q.parse_rate, "60 / min", 1), (q.parse_rate, "3600/hour", 1),
        (q.parse_network, "10.0.0.0/8", ip_network("10.0.0.0/8")),
        (q.parse_network, "192.0.2.7", ip_network("192.0.2.7/32")),
        (q.parse_network, ip_network("::1/128"), ip_network("::1")),
        (q.parse_endpoint, "127.0.0.1:2525", ("127.0.0.1", 2525)), (q.parse_endpoint, "[::1]:25", ("::1", 25)),
        (q.parse_endpoint, "mail.example.com:587", ("mail.example.com", 587)),
        (q.parse_address, "2001:DB8::1", "2001:db8::1"), (q.parse_host, "Relay.Example.COM", "relay.example.com"),
        (q.parse_text, "x y", "x y"), (q.parse_whole, 7, 7), (q.parse_flag, True, True),
        (q.as_list, "a", ["a"]), (q.as_list, ["a"], ["a"]),
    ],
)  # fmt: skip
def test_means(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (q.parse_duration, "1", "`1` is no duration; write a number and its unit"),
        (q.parse_duration, 60, "`60` is no duration"), (q.parse_duration, "", "is no duration"),
        (q.parse_duration, "5 m", "no duration"), (q.parse_duration, None, "an empty value is no duration"),
        (q.parse_size, "12 apples", "no size"), (q.parse_size, -1, "no size"), (q.parse_size, True, "`true` is no size"),
        (q.parse_percent, "101%", "no share"), (q.parse_percent, 0.5, "no share"),
        (q.parse_rate, "10", "no rate"), (q.parse_rate, 10, "no rate"),
        (q.parse_network, "10.0.0.1/8", "`10.0.0.1/8` has bits set outside its mask; write 10.0.0.0/8"),
        (q.parse_network, "ten", "no network"), (q.parse_network, 10, "no network"),
        (q.parse_endpoint, "127.0.0.1", "no host and port"), (q.parse_endpoint, ":25", "no host and port"),
        (q.parse_endpoint, "::1:25", "no host and port"), (q.parse_endpoint, "[x]:25", "no host and port"),
        (q.parse_endpoint, "a:0", "no host and port"), (q.parse_endpoint, "a:65536", "no host and port"),
        (q.parse_endpoint, "a:" + "9" * 5000, "no host and port"), (q.parse_endpoint, 25, "no host and port"),
        (q.parse_address, "example.com", "no IP address"), (q.parse_address, None, "no IP address"),
        (q.parse_host, "a b", "no host name"), (q.parse_host, "192.0.2.1", "no host name"),
        (q.parse_host, [], "a list is no host name"), (q.parse_host, {}, "a mapping is no host name"),
        (q.parse_host, "x" * 100, "`" + "x" * 59 + "…`"),
        (q.parse_text, 7, "`7` must be text here; put it in quotes"), (q.parse_text, "", "must be text"),
        (q.parse_text, "a\nb", "control characters"), (q.parse_text, None, "must be text"),
        (q.parse_whole, "012", "must be a whole number; write 12"), (q.parse_whole, 1.5, "must be a whole number"),
        (q.parse_whole, True, "must be a whole number"), (q.parse_flag, "no", "`no` must be true or false"),
    ],
)  # fmt: skip
def test_refused(parse, text, says):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared below
        parse(text)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)), ("192.0.2.1:5353", ("192.0.2.1", 5353)), ("::1", ("::1", 53)),
        ("[::1]", ("::1", 53)), ("[::1]:5353", ("::1", 5353)), ("dns.example", ("dns.example", 53)),
    ],
)  # fmt: skip
def test_a_port_that_goes_without_saying(text, value):
    assert q.parse_endpoint(text, port=53) == value


def test_endpoints_are_shown_as_written():
    assert str(q.Endpoint("::1", 25)) == "[::1]:25"
    assert str(q.Endpoint("127.0.0.1", 25)) == "127.0.0.1:25"
