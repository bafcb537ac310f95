"""Every recipient counts once: good, missed or late, at the moment that is known; or not at all."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.ids import STRETCH_S, made_at, message_id, stretch_at, stretch_end, stretch_of
from relay.core.objective import Tracker

T0 = 1_700_000_000.0


def mail(at, seed=0):
    return message_id(at, random.Random(seed).randbytes(6))


def tracker(within=10.0):
    return Tracker(within, 0.999)


def counts(one, now):
    one.close(now)
    return one.burn.good, one.burn.total


def delivered(one, message, after, **more):
    at = made_at(message) + after
    one.ended(message, at, age_s=after, **{"delivered": True, "excused": False, **more})


def test_delivered_in_time_is_good():
    one, code = tracker(), mail(T0)
    one.accepted(code, 1, T0)
    delivered(one, code, 0.2)
    assert counts(one, T0 + 60) == (1, 1)
    assert not one.waiting


def test_one_that_still_waits_is_late_when_its_time_is_over_and_not_before():
    one, code = tracker(), mail(T0)
    one.accepted(code, 1, T0)
    assert counts(one, T0 + 9.9) == (0, 0)
    assert counts(one, T0 + 10 + STRETCH_S) == (0, 1)


def test_what_was_late_counts_once_however_it_ends():
    for end in ({}, {"delivered": False}, {"delivered": False, "excused": True}):
        one, code = tracker(), mail(T0)
        one.accepted(code, 1, T0)
        assert counts(one, T0 + 60) == (0, 1)
        delivered(one, code, 3600, **end)
        assert counts(one, T0 + 7200) == (0, 1)


def test_one_that_ends_late_before_its_stretch_is_closed_is_judged_by_its_age():
    one, code = tracker(), mail(T0)
    one.accepted(code, 1, T0)
    delivered(one, code, 10.1)
    assert counts(one, T0 + 60) == (0, 1)


def test_a_wrong_address_told_in_time_is_not_counted():
    one, code = tracker(), mail(T0)
    one.accepted(code, 2, T0)
    delivered(one, code, 1, delivered=False, excused=True)
    delivered(one, code, 1)
    assert counts(one, T0 + 60) == (1, 1)


def test_refused_by_our_fault_is_missed_at_once():
    one, code = tracker(), mail(T0)
    one.accepted(code, 1, T0)
    delivered(one, code, 1, delivered=False)
    assert counts(one, T0 + 1) == (0, 1)


def test_recipients_of_one_message_count_each():
    one, news = tracker(), mail(T0)
    one.accepted(news, 5, T0)
    delivered(one, news, 1)
    delivered(one, news, 2)
    assert counts(one, T0 + 60) == (2, 5)


def test_held_by_a_rule_is_not_counted_and_takes_nothing_from_others():
    one, held, code = tracker(), mail(T0, 1), mail(T0, 2)
    one.accepted(code, 1, T0)
    one.accepted(held, 1, T0, held=True)
    delivered(one, held, 5)  # an operator released it
    assert counts(one, T0 + 60) == (0, 1)
    assert not one.exempt


def test_held_mail_alone_is_forgotten_when_its_time_is_over():
    one, held = tracker(), mail(T0)
    one.accepted(held, 1, T0, held=True)
    assert counts(one, T0 + 60) == (0, 0)
    assert not one.exempt


def test_more_held_mail_than_is_remembered_is_counted(monkeypatch):
    monkeypatch.setattr("relay.core.objective.HELD_MOST", 1)
    one = tracker()
    one.accepted(mail(T0, 1), 1, T0, held=True)
    one.accepted(mail(T0, 2), 1, T0, held=True)
    assert counts(one, T0 + 60) == (0, 1)


def test_a_disk_slower_than_the_objective_makes_late_mail():
    one, code = tracker(within=1.0), mail(T0)
    one.accepted(code, 1, T0 + 5)
    assert counts(one, T0 + 5) == (0, 1)
    delivered(one, code, 5.1)
    assert counts(one, T0 + 6) == (0, 1)


def test_lateness_is_counted_at_the_time_it_came_about_not_when_somebody_looked():
    one, code = tracker(), mail(T0)
    one.accepted(code, 1, T0)
    one.close(T0 + 7200)
    rates = one.burn.rates(T0 + 7200, 0.5)
    assert (rates["5m"], rates["1h"], rates["6h"]) == (0, 0, 2)


def test_a_shorter_promise_makes_late_what_already_waits_longer():
    one, code = tracker(within=60), mail(T0)
    one.accepted(code, 1, T0)
    one.promise(10, 0.99)
    assert counts(one, T0 + 20) == (0, 1)
    assert one.target == 0.99


def test_a_longer_promise_counts_nothing_twice():
    one, code, next_code = tracker(), mail(T0), mail(T0 + 100)
    one.accepted(code, 1, T0)
    assert counts(one, T0 + 20) == (0, 1)
    one.promise(60, 0.99)
    delivered(one, code, 30)
    one.accepted(next_code, 1, T0 + 100)
    assert counts(one, T0 + 120) == (0, 1)
    assert counts(one, T0 + 162) == (0, 2)


def test_mail_to_be_sent_later_is_late_from_then_on():
    one, early, late, code = tracker(), mail(T0, 1), mail(T0, 2), mail(T0, 3)
    for message in (early, late):
        one.accepted(message, 1, T0, due_at=T0 + 3600)
    one.accepted(code, 1, T0)
    one.ended(early, T0 + 3601, 1.0, delivered=True, excused=False)
    assert counts(one, T0 + 60) == (1, 2)  # the code became late, nothing else
    assert counts(one, T0 + 3600 + 60) == (1, 3)
    assert not one.later


def test_what_is_due_already_is_not_put_off():
    one, code = tracker(), mail(T0)
    one.accepted(code, 1, T0, due_at=T0 - 5)
    assert counts(one, T0 + 60) == (0, 1)


def test_more_mail_for_later_than_is_remembered_is_counted_from_acceptance(monkeypatch):
    monkeypatch.setattr("relay.core.objective.HELD_MOST", 1)
    one = tracker()
    for number in (1, 2):
        one.accepted(mail(T0, number), 1, T0, due_at=T0 + 3600)
    assert counts(one, T0 + 60) == (0, 1)


def test_a_start_goes_on_with_what_waits():
    one, held = tracker(), mail(T0, 9)
    one.resume({stretch_of(mail(T0)): 3}, [(stretch_of(held), held)])
    delivered(one, mail(T0, 1), 2)
    delivered(one, held, 2)
    assert counts(one, T0 + 60) == (1, 3)


def test_stretches_are_those_of_the_ids():
    for at in (T0, T0 + 0.9999, T0 + 12345.678):
        id_ = mail(at)
        assert made_at(id_) == int(at * 1000) / 1000
        assert stretch_at(at) == stretch_of(id_)
        assert stretch_end(stretch_of(id_)) - STRETCH_S <= at < stretch_end(stretch_of(id_)) + 0.001
    assert stretch_at(-5) == "00000000"
    with pytest.raises(ValueError, match="substring"):
        stretch_end("u")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 3), st.integers(1, 3), st.floats(0, 40), st.sampled_from(["good", "bad", "excused", "never"])
        ),
        max_size=40,
    ),
    st.lists(st.floats(0, 200), max_size=10),
)
def test_the_count_is_the_definition(mails, looks):
    """Against the definition said recipient by recipient, looked at in between at any times."""
    one, now, happenings, good, total = tracker(), T0, [], 0, 0
    for number, (step, recipients, age, end) in enumerate(mails):
        now += step
        id_ = mail(now, number)
        happenings.append((now, 0, id_, recipients, "accepted", 0.0))
        for _ in range(recipients):
            if end == "never":
                total += 1
                continue
            happenings.append((now + age, 1, id_, 1, end, age))
            late = age > 10
            good += end == "good" and not late
            total += late or end != "excused"
    happenings += [(T0 + look, 2, "", 0, "look", 0.0) for look in looks]
    for at, _, id_, recipients, what, age in sorted(happenings):
        if what == "accepted":
            one.accepted(id_, recipients, at)
        elif what == "look":
            one.close(at)
        else:
            one.ended(id_, at, age_s=age, delivered=what == "good", excused=what == "excused")
    assert counts(one, T0 + 1000) == (good, total)
    assert not one.waiting
