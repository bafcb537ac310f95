"""MAIL and RCPT arguments; most refusals are in tests/dialogues/mistakes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.envelope import Recipient
from relay.inbound.params import Mail, helo_text, parse_mail, parse_rcpt
from relay.inbound.refusals import Refused


def rcpt(text: str, *, utf8: bool = False) -> Recipient:
    return parse_rcpt(text, utf8=utf8, postmaster="pm@example.com")


def reason(call: object, *args: object, **more: object) -> str:
    with pytest.raises(Refused) as caught:
        call(*args, **more)  # type: ignore[operator]
    return caught.value.reason


def test_mail_with_everything() -> None:
    assert parse_mail("from: <A@b> size=10  body=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb AUTH=<>") == Mail(
        "A@b", 10, "8BITMIME", utf8=True, ret="HDRS", envid="a+2Bb"
    )


def test_mail_with_nothing() -> None:
    assert parse_mail("FROM:<>") == Mail("")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "syntax"),
        ("TO:<a@b>", "syntax"),
        ("FROM:<a@b> FOO", "unknown-parameter"),
        ("FROM:<a@b> FOO-BAR=1", "unknown-parameter"),
        ("FROM:<a@b> =1", "bad-parameter"),
        ("FROM:<a@b> SIZE=", "bad-parameter"),
        ("FROM:<a@b> SIZE=123456789012345678901", "bad-parameter"),
        ("FROM:<a@b> SIZE=\u0661", "bad-parameter"),
        ("FROM:<a@b> ENVID=" + "x" * 101, "bad-parameter"),
        ("FROM:<a@b> ENVID=+7F", "bad-parameter"),
        ("FROM:<a@b> ENVID=+1F", "bad-parameter"),
        ("FROM:<a@b> AUTH", "bad-parameter"),
        ("FROM:<ü@b> BODY=7BIT", "needs-smtputf8"),
        ("FROM:<ü@b> SMTPUTF8X", "unknown-parameter"),
        ("FROM:<a b>", "bad-sender"),
        ('FROM:<"ü SMTPUTF8"@b> BODY=7BIT', "needs-smtputf8"),
    ],
)
def test_mail_refused(text: str, why: str) -> None:
    assert reason(parse_mail, text) == why


def test_rcpt_keeps_dsn_parameters_exactly() -> None:
    assert rcpt("TO:<a@b> NOTIFY=delay,Failure ORCPT=RFC822;X+3Dy@b") == Recipient(
        "a@b", frozenset({"DELAY", "FAILURE"}), "RFC822;X+3Dy@b"
    )


def test_utf8_orcpt_only_with_smtputf8() -> None:
    assert rcpt("TO:<ü@b> ORCPT=utf-8;ü\\x{2F}@b", utf8=True).orcpt == "utf-8;ü\\x{2F}@b"
    assert reason(rcpt, "TO:<a@b> ORCPT=utf-8;ü@b") == "bad-parameter"


def test_postmaster_is_rewritten_and_remembered() -> None:
    assert rcpt("TO:<postMaster>") == Recipient("pm@example.com", frozenset(), "rfc822;postMaster")
    assert rcpt("TO:<postmaster> ORCPT=rfc822;x@y").orcpt == "rfc822;x@y"
    assert reason(parse_rcpt, "TO:<postmaster>", utf8=False, postmaster="") == "bad-recipient"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("FROM:<a@b>", "syntax"),
        ("TO:<>", "bad-recipient"),
        ("TO:<a@b> NOTIFY", "bad-parameter"),
        ("TO:<a@b> NOTIFY=SUCCESS,SUCCESS", "bad-parameter"),
        ("TO:<a@b> NOTIFY=NEVER,DELAY", "bad-parameter"),
        ("TO:<a@b> ORCPT", "bad-parameter"),
        ("TO:<a@b> ORCPT=rfc822;" + "x" * 500, "bad-parameter"),
        ("TO:<a@b> ORCPT=;x", "bad-parameter"),
        ("TO:<a@b> RET=FULL", "unknown-parameter"),
    ],
)
def test_rcpt_refused(text: str, why: str) -> None:
    assert reason(rcpt, text) == why


def test_helo_names() -> None:
    assert helo_text(" host_1.example ") == "host_1.example"
    assert helo_text("[IPv6:::1]") == "[IPv6:::1]"
    assert helo_text("my pc\u00e9(x)") == "my?pc??x?"
    assert len(helo_text("x" * 1000)) == 255
    assert reason(helo_text, " ") == "syntax"
    assert reason(helo_text, None) == "syntax"


WORDS = st.sampled_from(
    [
        "FROM:",
        "TO:",
        "<a@b>",
        "<>",
        "SIZE=",
        "SIZE=1",
        "BODY=7BIT",
        "NOTIFY=NEVER",
        "ORCPT=rfc822;a",
        "=",
        "+",
        "ENVID=x+",
        "ü",
        "SMTPUTF8",
        "<",
        ">",
        ":",
        ";",
        " ",
    ]
)


@given(st.lists(WORDS, max_size=12).map("".join) | st.text(max_size=60))
def test_nothing_but_refusals(text: str) -> None:
    for call in (parse_mail, rcpt):
        try:
            call(text)
        except Refused as refused:
            answer = refused.reply
        else:
            continue
        assert answer.code >= 500
        assert answer.text.isprintable()
