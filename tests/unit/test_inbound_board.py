"""What fronts count together: the sum never exceeds the limit, and who dies leaves nothing behind."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relay.core.reply import Reply
from relay.inbound.access import Access
from relay.inbound.board import Board, SharedBudget, SharedChecks, SharedSeats
from relay.inbound.reception import MemoryBudget, Reception
from relay.inbound.refusals import Refused
from relay.inbound.settings import ListenerSettings


class Guest:
    def drain(self):
        """Nothing."""

    abort = drain


def reception(board, number, **limits):
    settings = ListenerSettings("apps", "relay.test", **limits)

    async def accept(submission):
        return Reply(250, "2.0.0", ("Ok",))

    seats = SharedSeats(board, number, "apps") if board else None
    return Reception(settings, Access(), accept, budget=MemoryBudget(1), seats=seats)


def enter(house, address="192.0.2.1"):
    guest = Guest()
    try:
        house.enter(guest, address)
    except Refused as refused:
        return refused.reason
    return guest


steps = some.lists(some.tuples(some.integers(0, 2), some.sampled_from(["a", "b", "c"]), some.booleans()), max_size=60)


@given(steps)
def test_three_fronts_hold_the_limits_of_one(moves):
    board = Board(3, ["apps"])
    limits = {"max_connections": 7, "max_connections_per_client": 3}
    alone = reception(None, 0, **limits)
    houses = [reception(board, number, **limits) for number in (1, 2, 3)]
    inside = []
    for front, address, leaving in moves:
        if leaving and inside:
            house, theirs, mine, where = inside.pop()
            house.leave(theirs, where)
            alone.leave(mine, where)
            continue
        theirs, mine = enter(houses[front], address), enter(alone, address)
        assert isinstance(theirs, str) == isinstance(mine, str)
        if isinstance(theirs, str):
            assert theirs == mine
        else:
            inside.append((houses[front], theirs, mine, address))
    assert board.connections("apps") == len(inside)


def test_who_dies_leaves_its_places_to_others():
    board = Board(2, ["apps", "other"])
    one, two = (reception(board, number, max_connections=2) for number in (1, 2))
    assert not isinstance(enter(one), str)
    assert not isinstance(enter(one), str)
    assert enter(two) == "too-many-connections"
    board.hold(1, 500)
    board.ended(1)
    assert (board.connections("apps"), board.memory()) == (0, 0)
    assert not isinstance(enter(two), str)


def test_listeners_are_counted_apart():
    board = Board(2, ["apps", "other"])
    enter(reception(board, 1))
    assert (board.connections("apps"), board.connections("other")) == (1, 0)
    assert board.of_client("apps", "192.0.2.1") == 1
    assert board.of_client("other", "192.0.2.1") == 0
    assert (board.connections_at(1, "apps"), board.connections_at(2, "apps")) == (1, 0)


@given(some.lists(some.tuples(some.integers(0, 1), some.integers(1, 60)), max_size=30))
def test_memory_is_given_once_for_all_fronts(takes):
    board = Board(2, ["apps"])
    budgets = [SharedBudget(100, board, number) for number in (1, 2)]
    alone = MemoryBudget(100)
    for front, amount in takes:
        assert budgets[front].take(amount) == alone.take(amount)
    assert board.memory() == alone.used
    for budget in budgets:
        budget.give(budget.used)
    assert board.memory() == 0


def test_password_checks_are_bounded_over_all_fronts():
    board = Board(2, ["apps"])
    one, two = (SharedChecks(board, number) for number in (1, 2))
    assert [each.take(3) for each in (one, two, one, two)] == [True, True, True, False]
    assert board.checks() == 3
    one.give()
    assert two.take(3)
    assert not one.take(3)
    board.ended(2)
    assert board.checks() == 1
    assert one.take(3)


@pytest.mark.parametrize(("mine", "other", "alive", "ahead"), [
    (0, 0, True, False), (1, 0, True, False), (2, 0, True, True), (2, 1, True, False), (5, 3, True, True),
    (5, 3, False, False),
])  # fmt: skip
def test_a_front_is_ahead_of_one_that_lives_and_has_two_less(mine, other, alive, ahead):
    board = Board(2, ["apps"])
    if alive:
        board.started(2, 77, 5.0, again=False)
    for number, count in ((1, mine), (2, other)):
        for _ in range(count):
            board.move(number, "apps", "x", 1)
    assert board.is_ahead(1, "apps") is ahead


def test_lives_are_kept_beside():
    board = Board(1, ["apps"])
    board.started(1, 77, 5.0, again=False)
    board.ended(1)
    board.started(1, 78, 6.0, again=True)
    life = board.life(1)
    assert (life.pid, life.restarts, life.since) == (78, 1, 6)
    assert board.life(0).pid == 0
