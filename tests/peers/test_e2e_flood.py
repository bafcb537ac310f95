"""The flood, short: a campaign to slow destinations on the same relay as one-time codes. `python tests/bench/flood.py`
is the long form, with figures; here it is only shown that codes do not wait for newsletters."""

from pathlib import Path

import pytest

from tests.bench.flood import Plan, arguments, rows, run, verdicts

pytestmark = pytest.mark.peers
HOME = Path("/var/tmp")


def test_codes_leave_at_once_while_a_campaign_to_slow_destinations_is_under_way():
    """Ten destinations take a second for each message, and all connections the campaign may have are busy with it.
    The bounds have room for a machine that does other things; a code behind one newsletter would take a second."""
    outcome = run("relay", Plan("10-slow", 2000, 6.0, 5.0), HOME)
    print("\n".join(rows(outcome)))
    idle, injection, standing = outcome.phases
    assert outcome.complete, "every code was taken and received"
    assert min(idle.late.codes, standing.late.codes) >= 20
    assert standing.news_per_s > 20, "the campaign was not under way"
    for phase in (injection, standing):
        assert phase.late.p50_ms < max(25.0, 5 * idle.late.p50_ms)
        assert phase.late.p99_ms < max(250.0, 5 * idle.late.p99_ms)


def test_a_campaign_to_quick_destinations_is_not_slowed_down_by_codes_and_does_not_slow_them_down():
    outcome = run("relay", Plan("fast", 1500, 4.0, 5.0), HOME)
    assert outcome.complete, "every code and all of the campaign was received"
    assert outcome.phases[1].late.p99_ms < max(250.0, 5 * outcome.phases[0].late.p99_ms)


@pytest.mark.parametrize("words", [["--floods", "2-slow"], ["--sizes", "many"], ["--servers", "exim"], ["--rate", "0"]])
def test_wrong_words(words, capsys):
    with pytest.raises(SystemExit) as ended:
        arguments(words)
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err


def test_a_verdict_compares_with_idle_and_with_the_campaign_alone():
    from tests.bench.codes import Late
    from tests.bench.flood import Outcome, Phase

    def phases(*p99):
        return [Phase(str(nth), 1.0, Late(10, 0, 1.0, value, value, 1.0, 1.0), 1.0) for nth, value in enumerate(p99)]

    plan = Plan("fast", 100, 1.0, 5.0)
    alone = Outcome("relay", Plan("alone", 100, 1.0, 5.0), phases(0.0), 100.0, complete=True)
    good = Outcome("relay", plan, phases(2.0, 3.0, 1.0), 96.0, complete=True)
    bad = Outcome("relay", plan, phases(2.0, 1.0, 3.1), 94.0, complete=True)
    others = Outcome("postfix", plan, phases(2.0, 1.0, 9e9), 94.0, complete=True)
    first, second = verdicts([alone, good, bad, others])
    assert first.count("met") == 2
    assert second.count("missed") == 2
