"""What `require:` asks for, and what exactly is said to be missing."""

from __future__ import annotations

import pytest

from relay.core.headers import Headers
from relay.core.quota import Pace, Quota
from relay.policy.decide import Decision
from relay.policy.quota import QuotaEntry, compile_quota, parse_pace, parse_reserve
from relay.policy.require import aligned, missing

URI = "a List-Unsubscribe header with an https URI (RFC 8058)"
POST = "the header List-Unsubscribe-Post: List-Unsubscribe=One-Click (RFC 8058)"
ONE = "one From address that can be answered"
OTHER = "a From name that shows no other address"
CLICK = "List-Unsubscribe-Post: List-Unsubscribe=One-Click"


def lacking(name, *fields, decision=None, signing=()):
    headers = Headers.parse("".join(f"{field}\r\n" for field in fields).encode())
    return missing(decision or Decision(None, "r"), (name,), headers, lambda domain: signing)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], [URI, POST]),
        (["List-Unsubscribe: <https://e.example/u/1>", CLICK], []),
        (["list-unsubscribe: <mailto:u@e.example>,\r\n <HTTPS://e.example/u/1>", CLICK.lower()], []),
        (["List-Unsubscribe: <mailto:u@e.example>", CLICK], [URI]),
        (["List-Unsubscribe: <http://e.example/u/1>", CLICK], [URI]),
        (["List-Unsubscribe: https://e.example/u/1", CLICK], [URI]),
        (["List-Unsubscribe: <https://e.example/u/1>"], [POST]),
        (["List-Unsubscribe: <https://e.example/u/1>", "List-Unsubscribe-Post: yes"], [POST]),
        (["List-Unsubscribe: <https://e.example/u/1>", CLICK, CLICK], [POST]),
    ],
)
def test_list_unsubscribe(fields, expected):
    assert lacking("list_unsubscribe", *fields) == expected


def test_what_the_route_puts_in_is_there_and_what_it_takes_out_is_not():
    adds = Decision(None, "r", headers_add=(("List-Unsubscribe", "<https://e.example/u>"),))
    assert lacking("list_unsubscribe", CLICK, decision=adds) == []
    takes = Decision(None, "r", headers_remove=("LIST-Unsubscribe-Post",))
    assert lacking("list_unsubscribe", CLICK, "List-Unsubscribe: <https://e.example/u>", decision=takes) == [POST]


@pytest.mark.parametrize(
    ("signer", "author", "speaks"),
    [
        ("example.com", "example.com", True),
        ("Example.com", "news.example.com", True),
        ("news.example.com", "example.com", True),
        ("mail.example.com", "news.example.com", False),  # one organisation, perhaps
        ("ample.com", "example.com", False),
        ("com", "example.com", False),
        ("", "", False),
    ],
)
def test_aligned(signer, author, speaks):
    assert aligned(signer, author) is speaks


def test_aligned_dkim():
    shop = "From: Shop <shop@news.example.com>"
    assert lacking("aligned_dkim", shop, signing=["other.example", "example.com"]) == []
    no_key = ["a DKIM key for the From domain news.example.com"]
    assert lacking("aligned_dkim", shop, signing=["other.example"]) == no_key
    assert lacking("aligned_dkim", shop) == no_key
    assert lacking("aligned_dkim", signing=["example.com"]) == ["a DKIM key for the From domain (there is none)"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["From: Shop <shop@example.com>"], []),
        (["From: shop@example.com"], []),
        (["From: =?utf-8?q?Caf=C3=A9?= <shop@example.com>"], []),
        (["From: \"shop@example.com\" <shop@example.com>"], []),
        (["From: \"news@news.example.com\" <shop@example.com>"], []),
        (["From: \"help@bank.example\" <shop@example.com>"], [OTHER]),
        (["From: =?utf-8?q?help=40bank.example?= <shop@example.com>"], [OTHER]),
        ([], [ONE]),
        (["From: Shop"], [ONE]),
        (["From: a@example.com, b@example.com"], [ONE]),
        (["From: a@example.com", "From: a@example.com"], [ONE]),
        (["From: root@localhost"], [ONE]),
        (["From: shop@printer.local"], [ONE]),
        (["From: nobody@nowhere.invalid"], [ONE]),
        (["From: <a..b@-.example>"], [ONE]),
    ],
)
def test_visible_address(fields, expected):
    assert lacking("visible_address", *fields) == expected


def test_paces():
    assert parse_pace("100/min") == Pace(100, 60)
    assert parse_pace(parse_pace("5000/h")) == Pace(5000, 3600)
    for wrong in ("0/min", "1.5/min", "100", 100, None, "100/week"):
        with pytest.raises(ValueError, match="is no pace"):
            parse_pace(wrong)


def test_reserves():
    assert parse_reserve("5%") == 0.05
    assert parse_reserve("500MiB") == 500 << 20
    assert parse_reserve(0) == 0
    with pytest.raises(ValueError, match="leaves no room"):
        parse_reserve("100%")


def test_quota():
    assert compile_quota(None) is None
    entry = QuotaEntry.model_validate({"messages": 5, "bytes": "20GiB", "share_of_disk": "50%", "rate": "10/s"})
    assert compile_quota(entry) == Quota(5, 20 << 30, 0.5, Pace(10, 1))
    assert compile_quota(QuotaEntry.model_validate({"share_of_accepts": "60%"})) == Quota(accepts=0.6)
    assert compile_quota(QuotaEntry(messages=5)) == Quota(5)
