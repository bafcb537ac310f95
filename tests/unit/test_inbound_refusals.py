"""The table of refusals: every line is a reply that RFC 5321 and RFC 3463 allow."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import relay.inbound
import relay.prepare
from relay.inbound.refusals import REFUSALS, Counts, Refused, printable

FACTS = dict.fromkeys(
    [
        "client",
        "hostname",
        "seconds",
        "limit",
        "syntax",
        "text",
        "parameter",
        "listener",
        "address",
        "allowed",
        "hops",
        "stream",
        "pace",
        "share",
        "when",
    ],
    "x",
)


def sources(part: ModuleType) -> str:
    return "".join(path.read_text() for path in Path(part.__file__ or "").parent.glob("*.py"))


PREPARE = sources(relay.prepare)
SOURCES = sources(relay.inbound) + PREPARE


@pytest.mark.parametrize("reason", REFUSALS)
def test_every_line(reason: str) -> None:
    answer = Refused(reason, **FACTS).reply
    assert 400 <= answer.code < 600
    assert re.fullmatch(r"[45]\.\d{1,3}\.\d{1,3}", answer.enhanced)
    assert answer.enhanced[0] == str(answer.code)[0]  # RFC 2034 §4
    assert answer.text.isprintable()
    assert "{" not in answer.text
    assert REFUSALS[reason].means
    assert answer.code != 421 or REFUSALS[reason].counts is Counts.NEVER  # the session is over anyway


@pytest.mark.parametrize("reason", REFUSALS)
def test_no_line_is_dead(reason: str) -> None:
    assert SOURCES.count(f'"{reason}"') > 1, "nothing raises it"


def test_slugs_are_metric_labels() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", reason) for reason in REFUSALS)


def test_replies_echo_nothing_dangerous() -> None:
    answer = Refused("bad-sender", text="a\r\n250 2.0.0 Ok\x00ü").reply
    assert answer.text == "a??250 2.0.0 Ok??"
    assert len(printable("x" * 5000)) == 400


def test_preparation_refuses_for_reasons_of_the_table_with_its_codes() -> None:
    reasons = set(re.findall(r'refused\(\s*"([^"]+)"', PREPARE))
    assert {"no-from", "duplicate-header", "long-line"} <= reasons <= set(REFUSALS)
    for reason in reasons:
        assert REFUSALS[reason].code == 550
        assert REFUSALS[reason].enhanced == ("5.6.7" if reason == "eight-bit-header" else "5.6.0")
