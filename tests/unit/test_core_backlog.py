"""A stream's backlog: never forgets, never hands out twice, never holds more than it may."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.backlog import Backlog
from relay.core.waiting import Waiting


def waiting(number: int, due_at: float) -> Waiting:
    return Waiting(due_at, f"m{number:06}", 0, "a@example.net", "example.net", "transactional", due_at, 0)


def read_page(backlog: Backlog, store: dict[tuple[str, int], Waiting], now: float) -> bool:
    """Plays the store's part: answers the page that is wanted."""
    page = backlog.page_wanted(now)
    if page is None:
        return False
    behind = sorted(one for one in store.values() if one.mark > page.after and one.due_at <= page.before)
    backlog.page_arrived(sorted(behind, key=lambda one: one.mark)[: page.limit])
    return True


def test_fresh_mail_is_due_at_once():
    backlog = Backlog(10)
    read_page(backlog, {}, now=100)
    backlog.add(waiting(1, 100))
    assert backlog.due(100) == [waiting(1, 100)]
    assert backlog.due(100) == []


def test_what_is_not_due_yet_waits():
    backlog = Backlog(10)
    read_page(backlog, {}, now=100)
    backlog.add(waiting(1, 130))
    assert backlog.due(129.9) == []
    assert backlog.next_due() == 130
    assert backlog.due(130) == [waiting(1, 130)]
    assert backlog.next_due() is None


def test_what_is_due_far_ahead_is_left_to_the_store():
    backlog = Backlog(10, ahead_s=60)
    read_page(backlog, {}, now=100)
    backlog.add(waiting(1, 100 + 61))
    assert len(backlog) == 0
    assert read_page(backlog, {("m000001", 0): waiting(1, 161)}, now=140)
    assert backlog.due(161) == [waiting(1, 161)]


def test_a_restart_finds_everything_in_the_store():
    store = {one.key: one for one in (waiting(n, 50 + n) for n in range(5))}
    backlog = Backlog(10)
    assert read_page(backlog, store, now=100)
    assert backlog.due(100) == sorted(store.values())


def test_a_campaign_takes_no_more_memory_than_it_may():
    store = {}
    backlog = Backlog(100)
    read_page(backlog, store, now=0)
    for number in range(1000):
        one = waiting(number, number / 1000)
        store[one.key] = one
        backlog.add(one)
    assert len(backlog) <= 101
    seen = []
    while store:
        for one in backlog.due(10):
            seen.append(one)
            del store[one.key]
            backlog.left()
            backlog.finished(one)
        read_page(backlog, store, now=10)
    assert seen == [waiting(number, number / 1000) for number in range(1000)]


def test_nothing_stored_while_a_page_is_read_is_missed_or_doubled():
    backlog = Backlog(10)
    page = backlog.page_wanted(100)
    assert page is not None
    on_the_page, missed, far = waiting(1, 99), waiting(2, 100), waiting(3, 500)
    for one in (on_the_page, missed, far):
        backlog.add(one)
    backlog.page_arrived([on_the_page])
    assert backlog.due(200) == [on_the_page, missed]


def test_only_one_page_is_read_at_a_time():
    backlog = Backlog(10)
    assert backlog.page_wanted(100) is not None
    assert backlog.page_wanted(100) is None
    backlog.page_failed()
    assert backlog.page_wanted(100) is not None


def test_mail_under_way_is_not_taken_in_again_by_a_restart():
    one = waiting(1, 100)
    backlog = Backlog(10)
    read_page(backlog, {}, now=100)
    backlog.add(one)
    assert backlog.due(100) == [one]
    backlog.left()
    backlog.restart()
    read_page(backlog, {one.key: one}, now=100)
    assert backlog.due(100) == []
    backlog.finished(one)
    later = one._replace(due_at=160, attempts=1)
    backlog.add(later)
    assert backlog.due(160) == [later]


def test_a_page_that_arrives_after_a_restart_is_of_the_past():
    backlog = Backlog(10)
    assert backlog.page_wanted(100) is not None
    backlog.restart()
    backlog.page_arrived([waiting(1, 99)])
    assert backlog.due(200) == []
    read_page(backlog, {("m000001", 0): waiting(1, 99)}, now=100)
    assert backlog.due(200) == [waiting(1, 99)]


@given(seed=st.integers(0, 10_000), most=st.integers(2, 30))
@settings(max_examples=150, deadline=None)
def test_any_order_of_events_delivers_each_exactly_once(seed: int, most: int):
    """Invariant: every recipient stored is handed out, each attempt once, in at most `most` + one message
    of memory beyond what is under way."""
    dice = random.Random(seed)
    backlog, store, under_way, done, now, number = Backlog(most, ahead_s=10), {}, [], [], 0.0, 0
    for _ in range(300):
        match dice.randrange(5):
            case 0 | 1 if number < 80:
                one = waiting(number, now + dice.choice((0, 0, 5, 30)))
                number += 1
                store[one.key] = one
                backlog.add(one)
            case 2:
                read_page(backlog, store, now)
            case 3:
                now += dice.random() * 5
                taken = backlog.due(now)
                under_way += taken
                backlog.left(len(taken))
            case 4 if under_way:
                one = under_way.pop(dice.randrange(len(under_way)))
                backlog.finished(one)
                if dice.random() < 0.3:
                    again = one._replace(due_at=now + dice.random() * 20, attempts=one.attempts + 1)
                    store[one.key] = again
                    backlog.add(again)
                else:
                    done.append(one.key)
                    del store[one.key]
        assert len(backlog) <= most + 1
    for _ in range(1000):
        now += 5
        read_page(backlog, store, now)
        for one in [*under_way, *backlog.due(now)]:
            under_way = []
            backlog.finished(one)
            done.append(one.key)
            del store[one.key]
        backlog.out = 0
        if not store:
            break
    assert sorted(done) == sorted({(f"m{n:06}", 0) for n in range(number)})


def test_a_page_read_while_a_flood_drew_the_horizon_in_hides_nothing():
    store = {}
    backlog = Backlog(10, ahead_s=60)
    read_page(backlog, store, now=0)
    page = backlog.page_wanted(40)
    assert page is not None
    flood = [waiting(number, 30 + number / 100) for number in range(20)]
    for one in reversed(flood):  # the later ones are forgotten again as earlier ones come
        store[one.key] = one
        backlog.add(one)
    assert backlog.horizon < page.after
    backlog.page_arrived([])
    seen = []
    for _ in range(10):
        for one in backlog.due(200):
            seen.append(one)
            del store[one.key]
            backlog.left()
            backlog.finished(one)
        read_page(backlog, store, now=200)
    assert sorted(seen) == flood


def test_what_ended_while_a_page_was_read_is_not_taken_from_the_page():
    one = waiting(1, 100)
    backlog = Backlog(10)
    read_page(backlog, {}, now=100)
    backlog.add(one)
    assert backlog.due(100) == [one]
    backlog.left()
    backlog.restart()
    assert backlog.page_wanted(100) is not None
    backlog.finished(one)
    later = one._replace(due_at=140, attempts=1)
    backlog.add(later)
    backlog.page_arrived([one])
    assert backlog.due(139) == []
    assert backlog.due(140) == [later]
