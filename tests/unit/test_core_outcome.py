"""The verdict table."""

import re

import pytest

from relay.core.classify import Kind
from relay.core.outcome import (
    REACH,
    REPLIES,
    TROUBLES,
    Outcome,
    Phase,
    Scope,
    Trouble,
    Verdict,
    judge,
    judge_reply,
)
from relay.core.reply import Reply

MAIL_PHASES = {Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT}


def said(phase, code, enhanced="", text="words"):
    return judge_reply(phase, Reply(code, enhanced, (text,)))


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_has_a_row_with_a_status_of_its_class(trouble):
    row = TROUBLES[trouble]
    assert re.fullmatch(r"[45]\.\d\.\d{1,2}", row.status)
    # RFC 3463 §3.5: time running out is 4.4.7 even when it is final
    assert row.status[0] == {Verdict.DEFERRED: "4", Verdict.FAILED: "5"}[row.verdict] or row.status == "4.4.7"
    outcome = judge(trouble, Phase.MAIL)
    assert (outcome.trouble, outcome.kind, outcome.text) == (trouble, row.kind, row.text)
    assert outcome.status == row.status
    assert outcome.reply is None


@pytest.mark.parametrize("phase", Phase)
def test_only_a_reply_to_mail_itself_can_fail_it(phase):
    verdict = Verdict.FAILED if phase in MAIL_PHASES else Verdict.DEFERRED
    assert said(phase, 550).verdict is verdict
    assert said(phase, 450).verdict is Verdict.DEFERRED


@pytest.mark.parametrize("phase", Phase)
def test_only_the_dot_delivers(phase):
    outcome = said(phase, 250)
    assert (outcome.verdict is Verdict.DELIVERED) == (phase is Phase.DOT)
    assert (outcome.trouble is Trouble.PROTOCOL) == (phase is not Phase.DOT)


@pytest.mark.parametrize("digits", ["00", "21", "50", "99"])
def test_the_first_digit_decides_and_no_other(digits):
    for phase, first in REPLIES:
        assert said(phase, int(f"{first}{digits}")).verdict is REPLIES[phase, first][0]


def test_421_reaches_as_far_as_its_phase():
    assert said(Phase.BANNER, 421).scope is Scope.HOST
    assert said(Phase.RCPT, 421).scope is Scope.SESSION
    assert said(Phase.DOT, 421).scope is Scope.SESSION


def test_trouble_without_a_scope_of_its_own_reaches_as_far_as_its_phase():
    assert judge(Trouble.TIMEOUT, Phase.BANNER).scope is Scope.HOST
    assert judge(Trouble.LOST, Phase.RCPT).scope is Scope.SESSION
    assert judge(Trouble.TIMEOUT, Phase.RESOLVE).scope is Scope.DESTINATION
    assert set(REACH) == set(Phase)


def test_a_null_mx_says_what_rfc_7505_says():
    outcome = judge(Trouble.NULL_MX, Phase.RESOLVE)
    assert (outcome.verdict, outcome.status, outcome.text[:4]) == (Verdict.FAILED, "5.1.10", "556 ")


def test_text_replaces_the_tables_words_and_is_bounded():
    assert judge(Trouble.OURS, Phase.MAIL, "disk on fire").text == "disk on fire"
    assert len(judge(Trouble.OURS, Phase.MAIL, "x" * 9999).text) == 500
    assert len(said(Phase.RCPT, 550, text="x" * 9999).text) == 500


@pytest.mark.parametrize(("outcome", "status"), [
    (said(Phase.RCPT, 550, "5.1.1"), "5.1.1"),
    (said(Phase.RCPT, 550), "5.1.1"),
    (said(Phase.RCPT, 552), "5.2.2"),
    (said(Phase.DOT, 552), "5.3.4"),
    (said(Phase.DOT, 554), "5.0.0"),
    (said(Phase.RCPT, 451, text="greylisted"), "4.7.1"),
    (said(Phase.DOT, 250), "2.0.0"),
    (said(Phase.DOT, 250, "2.6.0"), "2.6.0"),
    (said(Phase.BANNER, 554, "5.7.1"), "4.7.1"),  # it only defers: the class follows the verdict
    (Outcome(Verdict.DEFERRED, Scope.MESSAGE, Phase.RCPT, Kind.TOO_MANY_RECIPIENTS), "4.5.3"),
])
def test_the_status_of_a_report(outcome, status):
    assert outcome.status == status
