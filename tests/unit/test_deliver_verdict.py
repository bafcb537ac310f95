"""Signatures are judged by an independent verifier: the example of RFC 8463 appendix A, whole and altered."""

import pytest

from relay.deliver.verdict import MAX_BYTES, dkim_verdicts

KEYS = {
    b"brisbane._domainkey.football.example.com.":
        b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    b"test._domainkey.football.example.com.":
        b"v=DKIM1; k=rsa; "
        b"p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb"
        b"2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO"
        b"2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
}
SIGNED = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")


def judged(message, keys=KEYS):
    return [str(verdict) for verdict in dkim_verdicts(message, keys.get)]


def test_both_signatures_of_the_example_pass():
    verdicts = dkim_verdicts(SIGNED, KEYS.get)
    assert [(one.domain, one.selector, one.result) for one in verdicts] == [
        ("football.example.com", "brisbane", "pass"),
        ("football.example.com", "test", "pass"),
    ]


def test_a_changed_header_breaks_both():
    assert judged(SIGNED.replace(b"dinner", b"lunch")) == ["fail: the signature does not match"] * 2


def test_a_changed_body_breaks_both():
    assert all("body hash mismatch" in one for one in judged(SIGNED.replace(b"We lost", b"We won")))


def test_a_key_that_is_not_published_is_named():
    assert judged(SIGNED, {}) == [
        "fail: no key at brisbane._domainkey.football.example.com",
        "fail: no key at test._domainkey.football.example.com",
    ]


BROKEN = [b"v=DKIM1; k=ed25519; p=AAAA", b"v=DKIM1; k=ed25519", b"v=DKIM1; k=new; p=x", b"="]


@pytest.mark.parametrize("record", BROKEN)
def test_a_broken_key_fails(record):
    assert all(one.startswith("fail: ") for one in judged(SIGNED, dict.fromkeys(KEYS, record)))


def test_a_broken_signature_fails():
    assert judged(b"DKIM-Signature: nonsense\r\n\r\nbody\r\n")[0].startswith("fail: ")


def test_a_message_that_is_none_fails():
    assert judged(b"no header\r\n\r\n")[0].startswith("fail: ")


def test_a_message_without_signature_has_no_verdict():
    assert judged(b"Subject: x\r\n\r\nbody\r\n") == []


def test_a_huge_message_is_not_checked():
    assert judged(SIGNED + b"x" * MAX_BYTES) == [f"none: not checked: larger than {MAX_BYTES} bytes"]
