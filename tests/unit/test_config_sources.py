"""`relay check` on the sources: addresses this machine does not have, warm-ups in the future, cold pools."""

from datetime import UTC, datetime

from relay.config.sources import check_sources, why_not_bound
from relay.core.warmup import Warmup
from relay.policy.model import Policy, Pool, Source

NOW = datetime(2026, 11, 21, tzinfo=UTC)
START = datetime(2026, 11, 20, tzinfo=UTC).timestamp()


def found(*sources):
    problems, notes = [], []
    policy = Policy({}, {"p": Pool("p", sources, "b.yaml:2")}, (), ())
    check_sources(policy, NOW, problems, notes)
    return [str(one) for one in problems], [str(one) for one in notes]


def test_good_ones():
    assert found(Source("a"), Source("b", "127.0.0.1"), Source("c", "127.9.9.9", warmup=Warmup(START))) == ([], [])


def test_an_address_this_machine_does_not_have():
    [problem], _ = found(Source("t1", "192.0.2.10", where="b.yaml:3"))
    assert problem == (
        "b.yaml:3:1: source `t1`: 192.0.2.10 is no address of this machine "
        "(add it to an interface (`ip address add`), or correct the source)"
    )
    assert why_not_bound("2001:db8::10") != ""
    assert why_not_bound("no address") != ""


def test_a_warm_up_that_has_not_begun():
    later = Warmup(NOW.timestamp() + 86400)
    [problem], _ = found(Source("m2", warmup=later, where="b.yaml:4"), Source("m1"))
    assert "b.yaml:4:1: source `m2`: the warm-up starts in the future, on 2026-11-22 (correct `started:`" in problem


def test_a_pool_of_cold_sources_is_worth_a_word():
    _, [note] = found(Source("m1", warmup=Warmup(START)), Source("m2", warmup=Warmup(START, per_hour=10)))
    assert "b.yaml:2:1: pool `p` has no warm source: what is above 42 messages an hour waits" in note
