"""Delivery without sockets: what is due, who goes next, what each destination bears, and that nobody is lost."""

import asyncio
import gc
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core.message import Prepared
from relay.core.outcome import Phase, Trouble, judge
from relay.core.pattern import compile_pattern
from relay.core.retry import Retry
from relay.deliver import overview
from relay.deliver.drain import drain, under_way
from relay.deliver.job import Job
from relay.deliver.sweeper import sweep
from relay.policy.model import Limits, Pool, Provider, Source, Stream
from relay.queue.store import StoreBroken, StoreBusy
from relay.smtp.timeouts import Timeouts
from relay.smtp.transaction import Delivery
from tests.unit.delivery_stage import Receiver, Stage, message, play, rules, subject

SHORT = Retry((60.0, 120.0), 600.0, 3600.0, 0.0)
DEAD = judge(Trouble.CONNECT_TIMEOUT, Phase.CONNECT)


def slow(seconds: float) -> Receiver:
    """A receiver that takes its time over each final dot."""
    return Receiver(slow_s=seconds)


def fresh(stage: Stage, id_: str, *recipients: str, **more):
    return message(id_, *recipients, at=stage.clock(), **more)


def test_mail_is_delivered_recorded_and_told():
    async def scenario():
        async with Stage(rules()) as stage:
            stage.receivers["example.net"] = receiver = Receiver()
            await stage.accept(fresh(stage, "m1", "bob@example.net", "eve@example.net"))
            await asyncio.sleep(1)
            assert [(sender, to) for sender, to, _ in receiver.taken] == [
                ("shop@example.com", ["bob@example.net", "eve@example.net"])
            ]
            assert stage.told("delivered") == [("m1", "bob@example.net"), ("m1", "eve@example.net")]
            assert not stage.queue.waiting
            event = stage.events[-1]
            assert event.detail["source"] == "t1"
            assert event.detail["mx"] == "mx.example.net"
            assert (event.detail["code"], event.detail["attempt"]) == (250, 1)
            await asyncio.sleep(60)
            assert receiver.open == 0
            stage.quiet()

    play(scenario())


@pytest.mark.parametrize("remember", [True, False])
def test_a_message_to_many_is_one_transaction_also_on_an_idle_connection(remember):
    async def scenario():
        async with Stage(rules(), remember=remember) as stage:
            stage.receivers["example.net"] = receiver = Receiver()
            for n in range(3):
                await stage.accept(fresh(stage, f"m{n}", "bob@example.net", "eve@example.net", "mal@example.net"))
                await asyncio.sleep(1)
            assert [len(to) for _, to, _ in receiver.taken] == [3, 3, 3]

    play(scenario())


@pytest.mark.parametrize("remember", [True, False])
def test_a_code_takes_the_next_place_and_not_the_last(remember):
    async def scenario():
        async with Stage(rules(limits=Limits(connections=1)), remember=remember) as stage:
            stage.receivers["example.net"] = receiver = slow(1)
            await stage.accept(*(fresh(stage, f"n{n:03}", stream="marketing") for n in range(20)))
            await asyncio.sleep(3.5)
            before = len(receiver.taken)
            await stage.accept(fresh(stage, "code"))
            await asyncio.sleep(30)
            order = [subject(body) for _, _, body in receiver.taken]
            assert order.index("code") <= before + 2  # one is on its way behind the dot already
            assert len(order) == 21

    play(scenario())


def test_a_code_does_not_ride_behind_a_newsletter_whose_answer_may_take_long():
    """It comes in the very moment before the newsletter's body leaves. The next message may leave in the same packet
    where nobody waits longer for it; but a code would wait for what the receiver thinks of the newsletter."""

    async def scenario():
        async with Stage(rules(limits=Limits(connections=2))) as stage:

            def code_comes(line: str) -> str:
                if "news@" in line:
                    coming = stage.queue.put(fresh(stage, "code"))
                    while next(coming.__await__(), "stored") != "stored":
                        pass
                return "usual"

            stage.receivers["example.net"] = Receiver(slow_s=1, RCPT=code_comes)
            await stage.accept(fresh(stage, "m1"), fresh(stage, "m2"))
            await asyncio.sleep(5)  # both connections are open and idle
            await stage.accept(fresh(stage, "news", "news@example.net", stream="marketing"))
            await asyncio.sleep(1.1)
            assert [message for message, _ in stage.told("delivered")[2:]] == ["news", "code"]
            stage.quiet()

    play(scenario())


def test_connections_stay_within_the_limit_and_messages_on_one_within_theirs():
    async def scenario():
        async with Stage(rules(limits=Limits(connections=3, messages_per_connection=4))) as stage:
            stage.receivers["example.net"] = receiver = slow(0.2)
            await stage.accept(*(fresh(stage, f"m{n:03}") for n in range(60)))
            await asyncio.sleep(60)
            assert len(receiver.taken) == 60
            assert receiver.open_most == 3
            assert all(sum(write.count(b"MAIL FROM") for write in wire.writes) <= 4 for wire in receiver.wires)
            stage.quiet()

    play(scenario())


def test_no_limit_on_messages_keeps_one_connection():
    async def scenario():
        async with Stage(rules(limits=Limits(connections=1, messages_per_connection=0))) as stage:
            stage.receivers["example.net"] = receiver = Receiver()
            await stage.accept(*(fresh(stage, f"m{n:03}") for n in range(120)))
            await asyncio.sleep(10)
            assert len(receiver.taken) == 120
            assert len(receiver.wires) == 1

    play(scenario())


def test_a_message_rate_is_kept_although_there_is_no_connection_rate():
    async def scenario():
        async with Stage(rules(limits=Limits(connections=5, messages_per_second=2))) as stage:
            stage.receivers["example.net"] = receiver = Receiver()
            await stage.accept(*(fresh(stage, f"m{n:03}") for n in range(30)))
            await asyncio.sleep(5)
            assert 10 <= len(receiver.taken) <= 13
            await asyncio.sleep(15)
            assert len(receiver.taken) == 30
            assert len(receiver.wires) <= 5

    play(scenario())


def test_a_connection_rate_is_kept_and_does_not_slow_what_runs():
    async def scenario():
        limits = Limits(connections=2, messages_per_connection=1, connections_per_minute=6, messages_per_second=1)
        async with Stage(rules(limits=limits)) as stage:
            stage.receivers["example.net"] = receiver = Receiver()
            await stage.accept(*(fresh(stage, f"m{n:03}") for n in range(8)))
            await asyncio.sleep(25)
            assert len(receiver.taken) == 4
            await asyncio.sleep(60)
            assert len(receiver.taken) == 8

    play(scenario())


def test_a_timer_for_connections_does_not_hold_up_the_message_rate():
    async def scenario():
        limits = Limits(connections=2, connections_per_minute=1, messages_per_second=5)
        async with Stage(rules(limits=limits)) as stage:
            stage.receivers["example.net"] = receiver = Receiver()
            await stage.accept(*(fresh(stage, f"m{n:03}") for n in range(40)))
            await asyncio.sleep(9)
            assert len(receiver.taken) == 40

    play(scenario())


def test_a_dead_site_is_left_alone_its_mail_follows_its_schedule_and_no_other_waits():
    async def scenario():
        async with Stage(rules()) as stage:
            stage.receivers["dead.net"], stage.receivers["example.net"] = DEAD, Receiver()
            await stage.accept(*(fresh(stage, f"d{n}", "x@dead.net") for n in range(50)))
            await stage.accept(fresh(stage, "m1"))
            await asyncio.sleep(1)
            assert stage.told("delivered") == [("m1", "bob@example.net")]
            assert len(stage.told("deferred")) == 50
            assert len(stage.cycles) <= 6 + 1
            due = {one.due_at - stage.clock() for one in stage.queue.waiting.values()}
            assert all(58 < seconds <= 60 for seconds in due)
            stage.receivers["dead.net"] = receiver = Receiver()
            await asyncio.sleep(120)
            assert len(receiver.taken) == 50
            stage.quiet()

    play(scenario())


def test_one_dead_host_of_a_provider_says_nothing_of_the_others():
    """Anyone may publish an MX that names a provider's host which takes no mail."""

    async def scenario():
        google = Provider("gmail", (compile_pattern("*.google.com"),), Limits())
        async with Stage(rules(providers=[google])) as stage:
            stage.hosts |= {"evil.net": ("www.google.com",), "gmail.com": ("mx.google.com",)}
            stage.receivers |= {"evil.net": DEAD, "gmail.com": Receiver()}
            await stage.accept(fresh(stage, "trap", "x@evil.net"))
            await asyncio.sleep(1)
            await stage.accept(fresh(stage, "code", "ann@gmail.com"))
            await asyncio.sleep(1)
            assert stage.told("delivered") == [("code", "ann@gmail.com")]

    play(scenario())


def test_a_site_nobody_was_connected_to_gets_a_place_from_one_that_has_them_all():
    async def scenario():
        google = Provider("gmail", (compile_pattern("*.google.com"),), Limits(connections=2))
        async with Stage(rules(providers=[google])) as stage:
            stage.hosts |= {"gmail.com": ("mx.google.com",), "firm.net": ("mx2.google.com",)}
            stage.receivers |= {"gmail.com": slow(0.5), "firm.net": Receiver()}
            campaign = [fresh(stage, f"n{n:03}", "x@gmail.com", stream="marketing") for n in range(200)]
            await stage.accept(*campaign)
            await asyncio.sleep(5)
            await stage.accept(fresh(stage, "code", "ann@firm.net"))
            await asyncio.sleep(2)
            assert ("code", "ann@firm.net") in stage.told("delivered")
            await asyncio.sleep(120)
            assert len(stage.told("delivered")) == 201

    play(scenario())


@pytest.mark.parametrize("connections", [2, 200])
def test_idle_connections_make_room_for_a_site_that_waits(connections):
    async def scenario():
        google = Provider("gmail", (compile_pattern("*.google.com"),), Limits(connections=2))
        async with Stage(rules(providers=[google]), connections=connections) as stage:
            names = [f"firm{n}.net" for n in range(6)]
            stage.hosts |= {name: (f"mx{n}.google.com",) for n, name in enumerate(names)}
            stage.receivers |= {name: Receiver() for name in names}
            for n, name in enumerate(names):
                await stage.accept(fresh(stage, f"m{n}", f"x@{name}"))
            await asyncio.sleep(2)
            assert len(stage.told("delivered")) == 6

    play(scenario())


def test_sites_that_wait_share_the_places_and_all_get_their_mail():
    async def scenario():
        google = Provider("gmail", (compile_pattern("*.google.com"),), Limits(connections=2))
        async with Stage(rules(providers=[google])) as stage:
            names = [f"firm{n}.net" for n in range(5)]
            stage.hosts |= {name: (f"mx{n}.google.com",) for n, name in enumerate(names)}
            stage.receivers |= {name: slow(0.2) for name in names}
            for n in range(40):
                await stage.accept(*(fresh(stage, f"m{n:02}{name}", f"x@{name}") for name in names))
            await asyncio.sleep(10)
            counts = Counter(address for _, address in stage.told("delivered"))
            assert len(counts) == 5
            await asyncio.sleep(60)
            assert len(stage.told("delivered")) == 200
            stage.quiet()

    play(scenario())


def test_a_source_that_cannot_be_used_leaves_the_mail_to_the_others():
    async def scenario():
        pools = [Pool("main", (Source("t1"), Source("t2")))]
        async with Stage(rules(pools=pools)) as stage:
            broken = judge(Trouble.SOURCE_UNUSABLE, Phase.CONNECT, "t1: not our address")
            receiver = Receiver()
            stage.receivers |= {
                f"s{n}.net": lambda source: broken if source.name == "t1" else receiver for n in range(8)
            }
            await stage.accept(*(fresh(stage, f"m{n}", f"x@s{n}.net") for n in range(8)))
            await asyncio.sleep(2)
            assert {name for name, _ in stage.cycles} == {"t1", "t2"}
            assert len(stage.told("delivered")) == 8

    play(scenario())


def test_a_reload_lowers_a_limit_at_once():
    async def scenario():
        async with Stage(rules(limits=Limits(connections=5))) as stage:
            stage.receivers["example.net"] = receiver = slow(0.5)
            await stage.accept(*(fresh(stage, f"m{n:03}") for n in range(100)))
            await asyncio.sleep(2)
            assert receiver.open == 5
            stage.rules = rules(limits=Limits(connections=1))
            stage.dispatcher.take_policy()
            await asyncio.sleep(3)
            assert receiver.open == 1
            await asyncio.sleep(120)
            assert len(receiver.taken) == 100
            stage.quiet()

    play(scenario())


def test_mail_whose_pool_is_gone_leaves_by_the_pool_of_now():
    async def scenario():
        pools = [Pool("main", (Source("t1"),))]
        async with Stage(rules(pools=pools, limits=Limits(connections=1))) as stage:
            stage.receivers["example.net"] = slow(1)
            await stage.accept(*(fresh(stage, f"m{n:03}") for n in range(10)))
            await asyncio.sleep(3)
            moved = replace(rules().streams["transactional"], pool="other")
            stage.rules = rules(moved, pools=[Pool("other", (Source("o1"),))])
            stage.dispatcher.take_policy()
            await asyncio.sleep(20)
            assert len(stage.told("delivered")) == 10
            assert ("o1", "example.net") in stage.cycles
            assert stage.events[-1].detail["source"] == "o1"
            await asyncio.sleep(60)
            stage.quiet()

    play(scenario())


def test_mail_whose_stream_is_gone_is_still_delivered():
    async def scenario():
        async with Stage(rules()) as stage:
            stage.receivers["example.net"] = Receiver()
            await stage.accept(fresh(stage, "m1", stream="forgotten"))
            await asyncio.sleep(1)
            assert stage.told("delivered") == [("m1", "bob@example.net")]

    play(scenario())


def test_streams_that_ask_for_the_same_domain_at_once_are_each_counted_as_theirs():
    async def scenario():
        async with Stage(rules()) as stage:
            stage.receivers["gmial.com"] = judge(Trouble.NO_DOMAIN, Phase.RESOLVE)
            for n in range(3):
                await stage.accept(fresh(stage, f"a{n}", "x@gmial.com", sender=""))
                await stage.accept(fresh(stage, f"b{n}", "x@gmial.com", sender="", stream="marketing"))
            await asyncio.sleep(1)
            assert len(stage.told("bounced")) == 6
            assert {name: one.out for name, one in stage.pager.backlogs.items()} == {"transactional": 0, "marketing": 0}

    play(scenario())


def test_a_drain_lets_what_is_under_way_finish_and_starts_nothing():
    async def scenario():
        stage = Stage(rules(limits=Limits(connections=2)))
        async with stage:
            stage.receivers["example.net"] = receiver = slow(5)
            await stage.accept(*(fresh(stage, f"m{n}") for n in range(10)))
            await asyncio.sleep(1)
            began = asyncio.get_running_loop().time()
            assert await drain(stage.dispatcher, 60) == 0
            assert asyncio.get_running_loop().time() - began < 15
            await asyncio.sleep(0.1)
            assert len(receiver.taken) == 4  # two, and two that were on their way behind the dot
            assert len(stage.told("delivered")) == 4
            assert receiver.open == 0

    play(scenario())


def test_what_a_drain_waits_for_is_said_with_the_reason():
    async def scenario():
        async with Stage(rules()) as stage:
            assert under_way(stage.dispatcher) == []
            stage.receivers["example.net"] = Receiver(DOT=None)
            await stage.accept(fresh(stage, "m1"))
            await asyncio.sleep(42)
            [delivery, reason] = under_way(stage.dispatcher)
            assert delivery == "m1 to example.net for 42 s"
            assert reason.endswith("has not answered in phase dot")
            assert await drain(stage.dispatcher, 1) == 1

    play(scenario())


def test_a_drain_ends_in_time_whatever_the_wall_clock_does():
    async def scenario():
        async with Stage(rules()) as stage:
            stage.receivers["example.net"] = Receiver(DOT=None)
            await stage.accept(fresh(stage, "m1"))
            await asyncio.sleep(1)
            stage.step_s = -86_400
            began = asyncio.get_running_loop().time()
            assert await drain(stage.dispatcher, 30) == 1
            assert asyncio.get_running_loop().time() - began < 35
            await asyncio.sleep(0.1)
            assert ("m1", 0) in stage.queue.waiting

    play(scenario())


@pytest.mark.parametrize("trouble", [StoreBroken("fsync"), None])
def test_a_drain_does_not_wait_for_a_report_that_cannot_be_stored(trouble):
    async def scenario():
        async with Stage(rules()) as stage:
            stage.receivers["example.net"] = Receiver(RCPT="550 5.1.1 no such user")
            await stage.accept(fresh(stage, "m1"))
            stage.queue.refusals = [trouble] if trouble else [StoreBusy("locked")] * 10_000
            await asyncio.sleep(1)
            assert not stage.told("bounced")
            began = asyncio.get_running_loop().time()
            await drain(stage.dispatcher, 30)
            assert asyncio.get_running_loop().time() - began < 40
            assert ("m1", 0) in stage.queue.waiting

    play(scenario())


def test_a_report_that_cannot_be_written_does_not_keep_the_recipient_for_ever(caplog):
    async def scenario():
        async with Stage(rules()) as stage:
            def broken(stored, action, recipients):
                raise ValueError("no such header")

            stage.reporter._report = broken
            stage.receivers["example.net"] = Receiver(RCPT="550 5.1.1 no such user")
            await stage.accept(fresh(stage, "m1"))
            await asyncio.sleep(1)
            assert stage.told("bounced") == [("m1", "bob@example.net")]
            assert not stage.queue.waiting

    play(scenario())
    assert "m1" in caplog.text


def test_an_operator_who_changes_the_queue_restarts_it_and_nothing_is_lost_or_sent_twice():
    async def scenario():
        async with Stage(rules(limits=Limits(connections=1))) as stage:
            stage.receivers["example.net"] = receiver = slow(0.3)
            await stage.accept(*(fresh(stage, f"m{n:03}") for n in range(30)))
            for n in range(5):
                await asyncio.sleep(1)
                held = f"m{29 - n:03}"
                stage.queue.held.add((held, 0))
                stage.reread()
            await asyncio.sleep(30)
            taken = Counter(subject(body) for _, _, body in receiver.taken)
            assert set(taken.values()) == {1}
            assert len(taken) == 25
            assert {id_ for id_, _ in stage.queue.waiting} == {f"m{25 + n:03}" for n in range(5)}

    play(scenario())


def test_a_recipient_held_while_it_is_under_way_is_not_tried_again():
    async def scenario():
        async with Stage(rules()) as stage:
            stage.receivers["example.net"] = receiver = Receiver(RCPT="450 4.2.1 later")
            await stage.accept(fresh(stage, "m1"))
            await asyncio.sleep(1)
            stage.queue.held.add(("m1", 0))  # between the attempt and its retry, with the retry in memory
            await asyncio.sleep(100)
            assert len(stage.told("deferred")) == 1
            assert sum(b"MAIL" in read for read in receiver.reads) == 1

    play(scenario())


def test_mail_that_expires_while_it_waits_for_its_turn_is_given_up():
    async def scenario():
        brief = Stream("transactional", "main", Retry((30.0,), 30.0, 90.0, 0.0))
        async with Stage(rules(brief, limits=Limits(connections=1))) as stage:
            stage.receivers["example.net"] = Receiver(BANNER=None)
            await stage.accept(fresh(stage, "m1", sender=""))
            for _ in range(8):
                await asyncio.sleep(30)
                sweep(stage.dispatcher)
            assert stage.told("expired") == [("m1", "bob@example.net")]

    play(scenario())


def test_the_last_attempt_is_made_at_the_expiry_itself():
    async def scenario():
        async with Stage(rules(Stream("transactional", "main", Retry((60.0,), 2000.0, 3600.0, 0.0)))) as stage:
            stage.receivers["example.net"] = Receiver(RCPT="450 4.2.1 later")
            began = stage.clock()
            await stage.accept(fresh(stage, "m1", sender=""))
            await asyncio.sleep(4000)
            times = [round(event.time - began) for event in stage.events if event.recipient]
            assert times == [0, 60, 2060, 3600]
            assert stage.told("expired") == [("m1", "bob@example.net")]

    play(scenario())


def test_the_sweeper_forgets_what_holds_nothing():
    async def scenario():
        limits = Limits(connections_per_minute=100)
        async with Stage(rules(limits=limits)) as stage:
            for n in range(20):
                stage.receivers[f"s{n}.net"] = DEAD if n % 2 else Receiver()
            await stage.accept(*(fresh(stage, f"m{n}", f"x@s{n}.net", sender="") for n in range(20)))
            await asyncio.sleep(60)
            assert stage.dispatcher.connector.gates.gates
            assert stage.dispatcher.connector.gates.breakers
            stage.receivers |= {f"s{n}.net": Receiver() for n in range(20)}
            await asyncio.sleep(900)
            sweep(stage.dispatcher)
            sweep(stage.dispatcher)
            assert not stage.dispatcher.connector.gates.gates
            assert not stage.dispatcher.connector.gates.breakers
            assert not stage.dispatcher.connector.links

    play(scenario())


def test_a_read_that_fails_for_a_moment_does_not_end_the_pager():
    async def scenario():
        async with Stage(rules()) as stage:
            stage.receivers["example.net"] = Receiver()
            stage.queue.troubles = [StoreBusy("locked")] * 3
            stage.pager.restart()
            await asyncio.sleep(1)
            await stage.accept(fresh(stage, "m1"))
            await asyncio.sleep(2)
            assert stage.told("delivered")

    play(scenario())


def test_what_waits_is_counted_by_the_reason_it_waits_for():
    async def scenario():
        async with Stage(rules(limits=Limits(connections=1))) as stage:
            stage.receivers["example.net"] = slow(60)
            await stage.accept(*(fresh(stage, f"m{n}") for n in range(5)))
            await asyncio.sleep(1)
            assert overview.waiting(stage.dispatcher) == {("transactional", "connections"): 3}

    play(scenario())


def test_a_share_reserved_for_codes_is_never_lent_and_costs_no_idle_connections():
    async def scenario():
        streams = [
            Stream("transactional", "main", SHORT, priority=100, reserve=0.5), Stream("marketing", "main", SHORT),
        ]  # fmt: skip
        async with Stage(rules(*streams, limits=Limits(connections=4))) as stage:
            stage.receivers["example.net"] = receiver = slow(1)
            await stage.accept(*(fresh(stage, f"n{n:03}", stream="marketing") for n in range(200)))
            await asyncio.sleep(80)
            assert len(receiver.wires) <= 4 + 4
            assert sum(stage.dispatcher.connector.gates.gates[("any", "site example.net")].busy.values()) == 2
            began = len(receiver.taken)
            await stage.accept(fresh(stage, "code"))
            await asyncio.sleep(1.5)
            assert "code" in [subject(body) for _, _, body in receiver.taken[began:]]

    play(scenario())


OUTCOMES = st.sampled_from(
    ["usual"] * 4
    + ["450 4.2.1 later", "550 5.1.1 no", "452 4.5.3 too many", "421 4.3.2 bye", "hang up", "250 hm\r\n354 eh"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_servers_do_every_recipient_ends_once_and_nothing_is_left_counted(data):
    """Accepted = ended + waiting at every moment; after a quiet hour nothing is under way or counted."""
    script = data.draw(st.lists(st.tuples(st.sampled_from(["MAIL", "RCPT", "DATA", "DOT"]), OUTCOMES), max_size=12))
    cycles = data.draw(st.lists(st.booleans(), max_size=6))
    remember, backlog = data.draw(st.booleans()), data.draw(st.sampled_from([4, 1000]))
    rereads = data.draw(st.integers(0, 3))

    async def scenario():
        limits = Limits(connections=data.draw(st.integers(1, 3)), messages_per_connection=data.draw(st.integers(0, 3)))
        retry = Retry((2.0, 4.0), 8.0, 60.0, 0.0)
        streams = [Stream("transactional", "main", retry, priority=100), Stream("marketing", "main", retry)]
        async with Stage(
            rules(*streams, limits=limits), remember=remember, backlog=backlog, timeouts=Timeouts(mail_s=10, rcpt_s=10)
        ) as stage:
            left = list(script)

            def scripted(verb):
                def answer(line):
                    for n, (wanted, text) in enumerate(left):
                        if wanted == verb:
                            del left[n]
                            return text
                    return "usual"

                return answer

            verbs = {verb: scripted(verb) for verb in ("MAIL", "RCPT", "DATA", "DOT")}
            stage.receivers |= {
                "example.net": Receiver(**verbs),
                "example.org": lambda source: DEAD if cycles and cycles.pop() else Receiver(**verbs),
                "gmial.com": judge(Trouble.NO_DOMAIN, Phase.RESOLVE),
            }
            everyone = set()
            for n in range(8):
                stream = "marketing" if n % 2 else "transactional"
                names = [f"u{k}@{site}" for k in range(2) for site in ("example.net", "example.org")]
                names += ["x@gmial.com"] if n == 3 else []
                await stage.accept(fresh(stage, f"m{n}", *names, sender="", stream=stream))
                everyone |= {(f"m{n}", k) for k in range(len(names))}
                await asyncio.sleep(0.05)
            for _ in range(rereads):
                await asyncio.sleep(0.1)
                stage.reread()
                assert everyone == set(stage.queue.waiting) | set(stage.queue.ends)
            for _ in range(8):
                await asyncio.sleep(30)
                sweep(stage.dispatcher)
            assert not stage.queue.waiting
            assert set(stage.queue.ends) == everyone
            assert all(len(ends) == 1 for ends in stage.queue.ends.values())
            told = Counter((event.message, event.recipient) for event in stage.events if event.event in (
                "delivered", "bounced", "expired"))  # fmt: skip
            assert set(told.values()) == {1}
            stage.quiet()
            assert all(one.out == 0 and not len(one) for one in stage.pager.backlogs.values())

    play(scenario())


@pytest.mark.parametrize("remember", [True, False])
def test_a_message_that_is_done_leaves_memory_at_once(remember):
    """Not when garbage is collected, which may be a minute later."""

    async def scenario():
        async with Stage(rules(limits=Limits(connections=3)), remember=remember) as stage:
            stage.receivers["example.net"] = slow(1)
            stage.receivers["example.org"] = Receiver(MAIL="451 4.3.0 later")
            gc.collect()
            gc.disable()
            before = {id(one) for one in gc.get_objects()}
            for number in range(20):
                await stage.accept(fresh(stage, f"m{number}", "bob@example.net", "eve@example.org"))
            await asyncio.sleep(20)
            assert len(stage.told("delivered")) == 20
            stage.queue.messages.clear()
            new = [one for one in gc.get_objects() if id(one) not in before]
            assert [one for one in new if isinstance(one, Job | Prepared | Delivery)] == []

    try:
        play(scenario())
    finally:
        gc.enable()
