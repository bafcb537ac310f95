"""Which messages are committed first when more wait than fit in one group."""

from relay.queue.order import next_group


def rank(name: str) -> int:
    return 100 if name.startswith("code") else 0


def test_while_all_fit_all_go_in_order():
    waiting = ["news1", "code", "news2"]
    assert next_group(waiting, 3, rank) == (waiting, [])


def test_codes_go_first_and_who_waited_longest_is_not_forgotten():
    waiting = [f"news{number}" for number in range(30)] + ["code1", "code2"]
    taken, left = next_group(waiting, 20, rank)
    assert {"code1", "code2", "news0", "news1"} <= set(taken)
    assert len(taken) == 20
    assert taken + left != waiting
    assert sorted(taken + left) == sorted(waiting)
    assert left == [f"news{number}" for number in range(18, 30)]


def test_a_flood_of_codes_does_not_shut_newsletters_out():
    waiting = [f"news{number}" for number in range(5)] + [f"code{number}" for number in range(100)]
    taken, _ = next_group(waiting, 20, rank)
    assert [one for one in taken if one.startswith("news")] == ["news0", "news1"]
