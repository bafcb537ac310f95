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
    behind = [
        one for one in store.values()
        if one.mark > page.after and one.due_at <= page.before
        and (page.only is None or one.part == page.only)
    ]  # fmt: skip
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
    backlog = Backlog(200)
    while read_page(backlog, store, now=100):
        pass
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
    backlog = Backlog(200)
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


def part_of(number: int, domain: str, flow: str, due_at: float = 0.0) -> Waiting:
    return Waiting(due_at, f"m{number:06}", 0, f"a@{domain}", domain, "marketing", due_at, 0, flow=flow)


def test_a_dead_destination_does_not_hide_what_comes_behind_it():
    """Ten thousand recipients of a dead domain stand before one of another: it is found at once."""
    store = {one.key: one for one in (part_of(n, "dead.net", "crm|autumn") for n in range(10_000))}
    other = part_of(99_999, "example.net", "crm|autumn")
    store[other.key] = other
    backlog = Backlog(1000)
    found, pages = [], 0
    while other not in found:
        assert read_page(backlog, store, now=100)
        pages += 1
        found += backlog.due(100)
    assert pages <= 30
    assert len(backlog) < 1000 - 300
    assert backlog.cursors.keys() == {("dead.net", "crm|autumn")}


def test_a_small_campaign_is_found_behind_big_ones_however_many():
    """Forty campaigns of a thousand to one domain fill their shares; the forty-first still finds room."""
    store = {}
    for number in range(40_000):
        one = part_of(number, "big.net", f"crm|{number // 1000}")
        store[one.key] = one
    last = part_of(99_999, "big.net", "crm|last")
    store[last.key] = last
    backlog, found, pages = Backlog(2000), [], 0
    while last not in found:
        assert read_page(backlog, store, now=100 + pages)
        pages += 1
        found += backlog.due(100)
    assert len(backlog) < 2000
    assert len(found) > 500


def test_a_part_that_waited_in_the_store_comes_in_order_as_it_drains():
    store = {one.key: one for one in (part_of(n, "slow.net", "crm|autumn") for n in range(3000))}
    backlog, lane, done, now = Backlog(300), [], [], 100.0
    while store:
        now += 1
        while read_page(backlog, store, now):
            pass
        lane += backlog.due(now)
        assert len(backlog) <= 300
        for one in lane[:10]:
            backlog.left()
            backlog.finished(one)
            done.append(store.pop(one.key).message)
        del lane[:10]
    assert done == sorted(done)
    assert not backlog.cursors


def test_fresh_mail_of_a_part_that_waits_is_left_to_the_store():
    store = {one.key: one for one in (part_of(n, "slow.net", "crm|autumn") for n in range(1000))}
    backlog = Backlog(100)
    for turn in range(20):
        read_page(backlog, store, now=100 + turn / 10)
    backlog.due(110)
    before = len(backlog)
    fresh = part_of(5000, "slow.net", "crm|autumn", due_at=110.0)
    backlog.add(fresh)
    assert len(backlog) == before
    other = part_of(5001, "quick.net", "shop|", due_at=110.0)
    backlog.add(other)
    assert backlog.due(110) == [other]


def test_a_page_that_could_not_be_read_is_wanted_again():
    store = {one.key: one for one in (part_of(n, "slow.net", "crm|autumn") for n in range(1000))}
    backlog = Backlog(100)
    while not backlog.cursors:
        assert read_page(backlog, store, now=100)
    for one in backlog.due(100):
        backlog.left()
        backlog.finished(one)
    wanted = []
    for _ in range(4):
        page = backlog.page_wanted(100)
        wanted.append(page)
        backlog.page_failed()
    assert any(page is not None and page.only is not None for page in wanted)


def test_what_was_finished_while_a_page_was_read_does_not_come_back_by_it():
    one = part_of(1, "example.net", "shop|")
    backlog = Backlog(10)
    read_page(backlog, {}, now=100)
    backlog.add(one)
    assert backlog.due(100) == [one]
    backlog.left()
    page = backlog.page_wanted(140)
    assert page is not None
    backlog.finished(one)
    backlog.page_arrived([one])  # it was read before the record of its delivery
    assert backlog.due(200) == []


def parked(count: int = 400) -> tuple[Backlog, dict[tuple[str, int], Waiting]]:
    """A backlog whose only part has a cursor and nothing in memory, and its store."""
    store = {one.key: one for one in (part_of(n, "slow.net", "crm|autumn") for n in range(count))}
    backlog = Backlog(160)
    while not backlog.cursors:
        assert read_page(backlog, store, now=100)
    for one in backlog.due(100):
        backlog.left()
        backlog.finished(one)
        backlog.finished(one)  # saying so twice changes nothing
        del store[one.key]
    return backlog, store


def wanted_of_part(backlog: Backlog):
    """The next page of a part."""
    while (page := backlog.page_wanted(100)) is None or page.only is None:
        assert page is not None
        backlog.page_arrived([])
    return page


def test_a_part_page_that_failed_is_wanted_again():
    backlog, _ = parked()
    page = wanted_of_part(backlog)
    backlog.page_failed()
    assert wanted_of_part(backlog).only == page.only


def test_a_part_that_has_its_share_wants_no_more_and_one_without_room_waits():
    backlog, store = parked()
    page = wanted_of_part(backlog)
    backlog.page_arrived(list(store.values()))  # more than the part may have
    assert 0 < len(backlog) < len(store)
    assert backlog.cursors[page.only] > page.after


def test_a_part_page_is_of_the_past_when_the_horizon_was_drawn_in_before_it():
    backlog, store = parked()
    page = wanted_of_part(backlog)
    backlog.cursors.clear()
    backlog.page_arrived([store[key] for key in list(store)[: page.limit]])
    assert len(backlog) == 0


def test_a_part_page_ends_at_the_horizon():
    backlog, store = parked()
    page = wanted_of_part(backlog)
    ours = list(store.values())[: page.limit - 1]
    backlog.page_arrived([*ours, part_of(999_999, "slow.net", "crm|autumn", due_at=1e6)])
    assert len(backlog) <= len(ours)
    assert part_of(999_999, "slow.net", "crm|autumn", due_at=1e6) not in backlog.due(1e7)


def test_a_full_page_of_a_part_is_followed_by_the_next():
    backlog, store = parked()
    page = wanted_of_part(backlog)
    found = list(store.values())[: page.limit]
    for one in found:
        backlog.finished(one)  # delivered while the page was read: it is skipped
    backlog.page_arrived(found)
    assert len(backlog) == 0
    assert wanted_of_part(backlog).after == found[-1].mark


def test_a_part_without_a_cursor_wants_no_page():
    backlog, _ = parked()
    backlog.cursors.clear()  # as when the horizon is drawn in before them
    pages = [backlog.page_wanted(100)]
    backlog.page_failed()
    pages.append(backlog.page_wanted(100))
    assert all(page is None or page.only is None for page in pages)


@given(seed=st.integers(0, 10_000), most=st.integers(2, 30), parts=st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_any_order_of_events_delivers_each_exactly_once(seed: int, most: int, parts: int):
    """Invariant: every recipient stored is handed out, each attempt once, in at most `most` + one message
    of memory beyond what is under way; pages take their time, and everything else goes on meanwhile."""
    dice = random.Random(seed)
    backlog, store, under_way, done, now, number = Backlog(most, ahead_s=10), {}, [], [], 0.0, 0
    reading: list[list[Waiting]] = []
    for _ in range(400):
        match dice.randrange(6):
            case 0 | 1 if number < 100:
                due_at = now + dice.choice((0, 0, 5, 30))
                one = part_of(number, f"d{dice.randrange(parts)}", f"f{dice.randrange(parts)}", due_at)
                number += 1
                store[one.key] = one
                backlog.add(one)
            case 2 if not reading and (page := backlog.page_wanted(now)):
                reading.append(sorted((
                    one for one in store.values() if one.mark > page.after and one.due_at <= page.before
                    and (page.only is None or one.part == page.only)
                ), key=lambda one: one.mark)[: page.limit])  # fmt: skip
            case 3 if reading:
                backlog.page_arrived(reading.pop())
            case 4:
                now += dice.random() * 5
                taken = backlog.due(now)
                under_way += taken
                backlog.left(len(taken))
            case 5 if under_way:
                one = under_way.pop(dice.randrange(len(under_way)))
                if dice.random() < 0.3:
                    again = one._replace(due_at=now + dice.random() * 20, attempts=one.attempts + 1)
                    store[one.key] = again
                    backlog.finished(one)
                    backlog.add(again)
                else:
                    done.append(one.key)
                    del store[one.key]
                    backlog.finished(one)
        assert len(backlog) <= most + 1
    while reading:
        backlog.page_arrived(reading.pop())
    for _ in range(3000):
        now += 1
        read_page(backlog, store, now)
        taken = backlog.due(now)
        backlog.left(len(taken))
        for one in [*under_way, *taken]:
            done.append(one.key)
            del store[one.key]
            backlog.finished(one)
        under_way = []
        if not store:
            break
    assert sorted(done) == [(f"m{n:06}", 0) for n in range(number)]


def test_a_page_read_while_a_flood_drew_the_horizon_in_hides_nothing():
    store = {}
    backlog = Backlog(10, ahead_s=60)
    read_page(backlog, store, now=0)
    page = backlog.page_wanted(40)
    assert page is not None
    flood = [waiting(number, 30 + number / 100)._replace(domain=f"d{number}.example") for number in range(20)]
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
