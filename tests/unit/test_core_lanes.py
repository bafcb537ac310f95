"""Who goes next at a message boundary."""

from collections import Counter

from relay.core.lanes import RECIPIENTS_MOST, LaneRules, Lanes
from relay.core.waiting import Waiting

RULES = {
    "transactional": LaneRules(priority=100, reserve=0.5),
    "alerts": LaneRules(priority=10, weight=3),
    "marketing": LaneRules(priority=10, weight=1),
}
ALL = lambda stream: True  # noqa: E731


def waiting(message: str, stream: str, nth: int = 0) -> Waiting:
    return Waiting(0.0, message, nth, "a@example.net", "example.net", stream, 0.0, 0)


def test_a_one_time_code_goes_before_a_campaign_that_came_first():
    lanes = Lanes(RULES)
    for number in range(1000):
        outlet = lanes.push(waiting(f"news{number}", "marketing"), "main", "site")
    lanes.push(waiting("code", "transactional"), "main", "site")
    assert [one.message for one in lanes.take(outlet, ALL)] == ["code"]
    assert [one.message for one in lanes.take(outlet, ALL)] == ["news0"]


def test_inside_a_stream_the_first_due_goes_first():
    lanes = Lanes(RULES)
    for name in "abc":
        outlet = lanes.push(waiting(name, "alerts"), "main", "site")
    assert [lanes.take(outlet, ALL)[0].message for _ in "abc"] == ["a", "b", "c"]
    assert lanes.take(outlet, ALL) == []


def test_streams_of_equal_priority_share_by_weight():
    lanes = Lanes(RULES)
    for number in range(400):
        outlet = lanes.push(waiting(f"alert{number}", "alerts"), "main", "site")
        lanes.push(waiting(f"news{number}", "marketing"), "main", "site")
    served = Counter(lanes.take(outlet, ALL)[0].stream for _ in range(100))
    assert served == {"alerts": 75, "marketing": 25}


def test_a_stream_that_was_silent_has_not_saved_up_turns():
    lanes = Lanes(RULES)
    for number in range(200):
        outlet = lanes.push(waiting(f"news{number}", "marketing"), "main", "site")
    for _ in range(100):
        lanes.take(outlet, ALL)
    for number in range(100):
        lanes.push(waiting(f"alert{number}", "alerts"), "main", "site")
    served = Counter(lanes.take(outlet, ALL)[0].stream for _ in range(40))
    assert served == {"alerts": 30, "marketing": 10}


def test_recipients_of_one_message_go_together_up_to_what_a_server_must_take():
    lanes = Lanes(RULES)
    for nth in range(RECIPIENTS_MOST + 5):
        outlet = lanes.push(waiting("one", "alerts", nth), "main", "site")
    lanes.push(waiting("two", "alerts"), "main", "site")
    assert len(lanes.take(outlet, ALL)) == RECIPIENTS_MOST
    assert [one.nth for one in lanes.take(outlet, ALL)] == list(range(RECIPIENTS_MOST, RECIPIENTS_MOST + 5))
    assert outlet.ready == 1


def test_pools_and_sites_do_not_share_an_outlet():
    lanes = Lanes(RULES)
    here = lanes.push(waiting("a", "alerts"), "main", "site")
    there = lanes.push(waiting("b", "alerts"), "main", "other")
    elsewhere = lanes.push(waiting("c", "alerts"), "bulk", "site")
    assert len({id(here), id(there), id(elsewhere)}) == 3
    assert len(list(lanes)) == 3


def test_a_stream_that_may_not_is_passed_over():
    lanes = Lanes(RULES)
    outlet = lanes.push(waiting("code", "transactional"), "main", "site")
    lanes.push(waiting("news", "marketing"), "main", "site")
    taken = lanes.take(outlet, lambda stream: stream == "marketing")
    assert [one.message for one in taken] == ["news"]
    assert lanes.take(outlet, lambda stream: stream == "marketing") == []


def test_a_reserve_is_never_lent_to_lower_streams():
    lanes = Lanes(RULES)
    assert lanes.may_take("marketing", {}, 4)
    assert lanes.may_take("marketing", {"marketing": 1}, 4)
    assert not lanes.may_take("marketing", {"marketing": 1, "alerts": 1}, 4)
    assert lanes.may_take("transactional", {"marketing": 1, "alerts": 1}, 4)
    assert lanes.may_take("marketing", {"transactional": 3}, 4)


def test_where_only_one_connection_is_allowed_lower_streams_still_get_their_turn():
    lanes = Lanes(RULES)
    assert lanes.may_take("marketing", {}, 1)
    assert not lanes.may_take("marketing", {"marketing": 1}, 1)


def test_a_stream_the_policy_lost_goes_last_but_goes():
    lanes = Lanes(RULES)
    outlet = lanes.push(waiting("old", "gone"), "main", "site")
    lanes.push(waiting("news", "marketing"), "main", "site")
    assert [lanes.take(outlet, ALL)[0].message for _ in range(2)] == ["news", "old"]


def test_draining_an_outlet_empties_it():
    lanes = Lanes(RULES)
    outlet = lanes.push(waiting("a", "alerts"), "main", "site")
    lanes.push(waiting("b", "marketing"), "main", "site")
    assert {one.message for one in lanes.drain(outlet)} == {"a", "b"}
    assert (outlet.ready, lanes.take(outlet, ALL)) == (0, [])


def test_a_sweep_takes_what_expired_and_forgets_what_is_empty():
    lanes = Lanes(RULES)
    outlet = lanes.push(waiting("old", "alerts"), "main", "site")
    lanes.push(waiting("new", "alerts"), "main", "site")
    lanes.push(waiting("old", "marketing"), "main", "other")
    assert len(lanes.sweep(lambda one: one.message == "old")) == 2
    assert [(one.site, one.ready) for one in lanes] == [("site", 1)]
    assert lanes.take(outlet, ALL)[0].message == "new"
    assert lanes.sweep(lambda one: False) == []
    assert list(lanes) == []
