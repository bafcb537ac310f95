"""Who goes next at a message boundary."""

from collections import Counter

from relay.core.lanes import RECIPIENTS_MOST, LaneRules, Lanes, Outlet
from relay.core.waiting import Waiting

RULES = {
    "transactional": LaneRules(priority=100, reserve=0.5),
    "alerts": LaneRules(priority=10, weight=3),
    "marketing": LaneRules(priority=10, weight=1),
}


def waiting(message: str, stream: str, nth: int = 0, flow: str = "") -> Waiting:
    return Waiting(0.0, message, nth, "a@example.net", "example.net", stream, 0.0, 0, flow=flow)


def take(lanes: Lanes, outlet: Outlet) -> list[Waiting]:
    """What a connection that may carry anything gets."""
    order = lanes.order(outlet)
    return lanes.take(outlet, order[0]) if order else []


def test_a_one_time_code_goes_before_a_campaign_that_came_first():
    lanes = Lanes(RULES)
    for number in range(1000):
        outlet = lanes.push(waiting(f"news{number}", "marketing"), "main", "site")
    lanes.push(waiting("code", "transactional"), "main", "site")
    assert [one.message for one in take(lanes, outlet)] == ["code"]
    assert [one.message for one in take(lanes, outlet)] == ["news0"]


def test_inside_a_stream_the_first_due_goes_first():
    lanes = Lanes(RULES)
    for name in "abc":
        outlet = lanes.push(waiting(name, "alerts"), "main", "site")
    assert [take(lanes, outlet)[0].message for _ in "abc"] == ["a", "b", "c"]
    assert take(lanes, outlet) == []


def test_streams_of_equal_priority_share_by_weight():
    lanes = Lanes(RULES)
    for number in range(400):
        outlet = lanes.push(waiting(f"alert{number}", "alerts"), "main", "site")
        lanes.push(waiting(f"news{number}", "marketing"), "main", "site")
    served = Counter(take(lanes, outlet)[0].stream for _ in range(100))
    assert served == {"alerts": 75, "marketing": 25}


def test_a_stream_that_was_silent_has_not_saved_up_turns():
    lanes = Lanes(RULES)
    for number in range(200):
        outlet = lanes.push(waiting(f"news{number}", "marketing"), "main", "site")
    for _ in range(100):
        take(lanes, outlet)
    for number in range(100):
        lanes.push(waiting(f"alert{number}", "alerts"), "main", "site")
    served = Counter(take(lanes, outlet)[0].stream for _ in range(40))
    assert served == {"alerts": 30, "marketing": 10}


def test_recipients_of_one_message_go_together_up_to_what_a_server_must_take():
    lanes = Lanes(RULES)
    for nth in range(RECIPIENTS_MOST + 5):
        outlet = lanes.push(waiting("one", "alerts", nth), "main", "site")
    lanes.push(waiting("two", "alerts"), "main", "site")
    assert len(take(lanes, outlet)) == RECIPIENTS_MOST
    assert [one.nth for one in take(lanes, outlet)] == list(range(RECIPIENTS_MOST, RECIPIENTS_MOST + 5))
    assert outlet.ready == 1


def test_pools_and_sites_do_not_share_an_outlet():
    lanes = Lanes(RULES)
    here = lanes.push(waiting("a", "alerts"), "main", "site")
    there = lanes.push(waiting("b", "alerts"), "main", "other")
    elsewhere = lanes.push(waiting("c", "alerts"), "bulk", "site")
    assert len({id(here), id(there), id(elsewhere)}) == 3
    assert len(list(lanes)) == 3


def test_a_stream_the_policy_lost_goes_last_but_goes():
    lanes = Lanes(RULES)
    outlet = lanes.push(waiting("old", "gone"), "main", "site")
    lanes.push(waiting("news", "marketing"), "main", "site")
    assert [take(lanes, outlet)[0].message for _ in range(2)] == ["news", "old"]


def test_draining_an_outlet_empties_it():
    lanes = Lanes(RULES)
    outlet = lanes.push(waiting("a", "alerts"), "main", "site")
    lanes.push(waiting("b", "marketing"), "main", "site")
    assert {one.message for one in lanes.drain(outlet)} == {"a", "b"}
    assert (outlet.ready, take(lanes, outlet)) == (0, [])


def test_a_sweep_takes_what_expired_and_forgets_what_is_empty():
    lanes = Lanes(RULES)
    outlet = lanes.push(waiting("old", "alerts"), "main", "site")
    lanes.push(waiting("new", "alerts"), "main", "site")
    lanes.push(waiting("old", "marketing"), "main", "other")
    assert len(lanes.sweep(lambda one: one.message == "old")) == 2
    assert [(one.site, one.ready) for one in lanes] == [("site", 1)]
    assert take(lanes, outlet)[0].message == "new"
    assert lanes.sweep(lambda one: False) == []
    assert list(lanes) == []


def test_a_campaign_that_came_later_does_not_wait_for_the_one_before_it():
    lanes = Lanes(RULES)
    for number in range(1000):
        outlet = lanes.push(waiting(f"a{number}", "marketing", flow="crm|autumn"), "main", "site")
    lanes.push(waiting("b0", "marketing", flow="crm|winter"), "main", "site")
    assert [take(lanes, outlet)[0].message for _ in range(3)] == ["a0", "b0", "a1"]


def test_an_app_with_many_campaigns_has_no_more_turns_than_one_with_a_single_one():
    lanes = Lanes(RULES)
    for number in range(40):
        outlet = lanes.push(waiting(f"a{number}", "marketing", flow=f"crm|campaign {number % 10}"), "main", "site")
        lanes.push(waiting(f"b{number}", "marketing", flow="shop|"), "main", "site")
    served = Counter(take(lanes, outlet)[0].flow.partition("|")[0] for _ in range(40))
    assert served == {"crm": 20, "shop": 20}
    assert outlet.messages == outlet.ready == 40


def test_messages_are_counted_beside_recipients():
    lanes = Lanes(RULES)
    for nth in range(RECIPIENTS_MOST + 5):
        outlet = lanes.push(waiting("one", "alerts", nth), "main", "site")
    assert (outlet.ready, outlet.messages, outlet.key) == (RECIPIENTS_MOST + 5, 1, ("main", "site"))
    take(lanes, outlet)
    assert (outlet.ready, outlet.messages) == (5, 1)
    take(lanes, outlet)
    assert (outlet.ready, outlet.messages) == (0, 0)


def test_one_stream_can_be_taken_out_whole():
    lanes = Lanes(RULES)
    outlet = lanes.push(waiting("a", "alerts"), "main", "site")
    lanes.push(waiting("b", "marketing"), "main", "site")
    assert [one.message for one in lanes.take_lane(outlet, "marketing")] == ["b"]
    assert lanes.take_lane(outlet, "marketing") == []
    assert outlet.ready == 1


def test_a_higher_stream_that_waits_at_an_outlet_is_seen_there_only():
    lanes = Lanes(RULES)
    here = lanes.push(waiting("news", "marketing"), "main", "site")
    lanes.push(waiting("alert", "alerts"), "main", "site")
    lanes.push(waiting("code", "transactional"), "main", "other")
    assert not lanes.higher_waits(here, "marketing")
    lanes.push(waiting("code", "transactional"), "main", "site")
    assert lanes.higher_waits(here, "marketing")
    assert not lanes.higher_waits(here, "transactional")
    for _ in range(3):
        take(lanes, here)
    assert not lanes.higher_waits(here, "marketing")
