"""A recorded day under other policies: what would differ is said, and what would not is not."""

import json

import pytest

from relay.cli.app import run_app
from relay.config.read import load_policies
from relay.core.outcome import Outcome, Phase, Scope, Verdict, judge_reply
from relay.core.reply import Reply
from relay.policy.answers import AT_ONCE, DELIVERED, Answer, Evidence, answer_at
from relay.policy.doorways import Mail, Recipient
from relay.policy.replay import Replay
from relay.policy.results import DELAYS_S, Result
from relay.policy.simulation import Simulation
from tests.unit.recorded_day import START, day, write

POLICY = """
streams:
  transactional:
    pool: transactional
    priority: 100
    reserve: 50%
    retry: {after: [1m, 5m], then: 1h, expire: 24h}
    objective: {within: 10s, for: 99.9%}
  marketing: {pool: marketing, retry: {after: [15m], then: 1h, expire: 72h}}
pools:
  transactional: {sources: [{name: t1, address: 192.0.2.1}]}
  marketing: {sources: [{name: m1, address: 192.0.2.2}]}
routes:
  - name: newsletters
    when: {header: {List-Unsubscribe: present}}
    stream: marketing
    tag: {campaign: "{header:X-Campaign}"}
  - {name: everything else, stream: transactional}
providers:
  gmail: {mx: "*.google.com", per_source: {connections: 5}}
  everyone else: {mx: "*", per_source: {connections: 20}}
"""


GMAIL = 'mx: "*.google.com", per_source: {'


def policy(tmp_path, *changes, name="old"):
    text = POLICY
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    folder = tmp_path / name
    folder.mkdir()
    (folder / "all.yaml").write_text(text)
    found, problems = load_policies(folder)
    assert problems == []
    return found


def played(tmp_path, *changes, rows=None):
    rows = day() if rows is None else rows
    evidence = Evidence()
    for row in rows:
        evidence.learn(row)
    replay = Replay(policy(tmp_path), policy(tmp_path, *changes, name="new"), evidence)
    for row in rows:
        replay.play(row)
    replay.end()
    return replay


def test_the_same_policies_change_nothing(tmp_path):
    replay = played(tmp_path)
    assert not replay.differs
    assert replay.messages == 400
    assert replay.evidence.attempts == sum("phase" in row for row in day())
    assert sum(replay.old.sends.values()) >= replay.evidence.attempts
    ends = replay.new.results["transactional"]
    assert ends.delivered + ends.bounced + ends.expired == 200


def test_the_same_day_twice_comes_out_the_same(tmp_path):
    (tmp_path / "1").mkdir(), (tmp_path / "2").mkdir()
    assert played(tmp_path / "1").new.sends == played(tmp_path / "2").new.sends


def test_newsletters_that_would_ride_with_the_codes(tmp_path):
    replay = played(tmp_path, ("List-Unsubscribe: present", "Precedence: bulk"))
    [(pair, change)] = replay.streams.items()
    assert pair == ("marketing", "transactional")
    assert change.count == 200
    assert len(change.examples) == 3
    assert list(replay.routes) == [("newsletters", "everything else")]
    assert replay.not_recorded == {}
    assert replay.new.results["transactional"].delivered > replay.old.results["transactional"].delivered


def test_what_a_guard_had_found_is_found_again(tmp_path):
    rows = [row | {"stream": "marketing", "tags": {"guard": "recipients"}} if row["stream"] == "transactional"
            and row["event"] == "accepted" else row for row in day() if row.get("stream")]  # fmt: skip
    guard = ("priority: 100", "priority: 100\n    guard: {bulk: reroute, to: marketing}")
    (tmp_path / "with").mkdir(), (tmp_path / "without").mkdir()
    assert played(tmp_path / "with", guard, rows=rows).streams == {}
    assert list(played(tmp_path / "without", rows=rows).streams) == [("marketing", "transactional")]


def test_a_guard_of_the_new_policies_looks_at_what_was_recorded(tmp_path):
    rows = [{**row, "recipients": [f"u{number}@gmail.com" for number in range(60)]} if row["event"] == "accepted" and
            row["stream"] == "transactional" else row for row in day(messages=20)]  # fmt: skip
    guard = ("priority: 100", "priority: 100\n    guard: {bulk: reroute, to: marketing}")
    replay = played(tmp_path, guard, rows=rows)
    assert replay.streams[("transactional", "marketing")].count == 10


def test_a_header_nobody_asked_for_then_is_told(tmp_path):
    replay = played(tmp_path, ("List-Unsubscribe: present", "X-Bulk: present"))
    assert replay.not_recorded == {"x-bulk": 400}


def test_events_without_facts_are_told(tmp_path):
    replay = played(tmp_path, rows=day(facts=False))
    assert replay.without_facts == 400
    assert replay.routes


def test_what_would_be_refused_and_held(tmp_path):
    last = "- {name: everything else"
    refuse = (last, "- {name: no news, when: {sender: 'news@*'}, refuse: no}\n  " + last)
    replay = played(tmp_path, ("List-Unsubscribe: present", "Precedence: list"), refuse)
    assert replay.refusals[("accepted by newsletters", "refused by no news")].count == 200
    assert "marketing" not in replay.new.results
    (tmp_path / "h").mkdir()
    held = played(tmp_path / "h", ("    stream: marketing\n", "    stream: marketing\n    hold: true\n"))
    assert held.holds[("not held", "held")].count == 200
    assert "marketing" not in held.new.results


def test_what_was_refused_and_would_not_be(tmp_path):
    refused = {
        "time": START, "event": "refused", "route": "no news", "reason": "policy", "listener": "apps",
        "client": "10.0.0.7", "sender": "news@example.com", "recipients": ["a@gmail.com"], "size": 10,
        "credential": "", "facts": {"headers": {"list-unsubscribe": [], "x-campaign": []}, "size": 10},
    }  # fmt: skip
    replay = played(tmp_path, rows=[refused, {**refused, "time": START + 1, "recipients": ["b@example.org"]}])
    [(pair, change)] = replay.refusals.items()
    assert pair == ("refused by no news", "accepted by everything else")
    assert change.count == 2
    assert sum(replay.new.sends.values()) == 2
    assert sum(replay.old.sends.values()) == 0


def test_reports_of_the_relays_own_are_not_decided(tmp_path):
    rows = [{**row, "route": "delivery report"} for row in day(messages=10)]
    replay = played(tmp_path, rows=rows)
    assert replay.messages == 0
    assert not replay.differs
    assert sum(replay.new.sends.values()) >= 10


def test_a_rate_spreads_the_sends_over_the_hours(tmp_path):
    replay = played(tmp_path, (GMAIL, GMAIL + "messages: 1/h, "))
    gmail = {hour: count for (hour, name), count in replay.new.sends.items() if name == "gmail"}
    assert max(gmail.values()) <= 4  # one for each of two sources, and one more each in the first hour
    assert len(gmail) > len({hour for hour, name in replay.old.sends if name == "gmail"})
    assert replay.new.results["marketing"].quantile(0.99) > replay.old.results["marketing"].quantile(0.99)
    assert replay.differs
    assert not replay.routes


def test_a_slower_schedule_sends_later(tmp_path):
    replay = played(tmp_path, ("after: [1m, 5m]", "after: [2h, 5h]"))
    before, after = (one.results["transactional"].quantile(0.99) for one in (replay.old, replay.new))
    assert before <= 900 < after


def test_what_no_relay_wrote_is_counted_and_passed_over(tmp_path):
    good = next(row for row in day() if row["event"] == "accepted")
    replay = played(tmp_path, rows=[good, {**good, "message": "?"}, {**good, "facts": 5}, {"event": "accepted"}])
    assert (replay.messages, replay.unreadable) == (1, 2)


def test_evidence_of_trouble():
    evidence = Evidence()
    common = {"message": "m", "phase": "rcpt", "mx": "mx.example.org", "seconds": 2.0}

    def learn(name, at, who, **more):
        evidence.learn({"time": at, "event": name, "recipient": who, **common, **more})

    evidence.learn({"time": 4.0, "event": "expired", "message": "m", "recipient": "a@example.org"})  # never tried
    learn("delivered", 5.0, "a@Example.org")
    assert evidence.answers("m", "a@Example.org") is AT_ONCE
    assert evidence.seconds("example.org") == 2.0
    assert evidence.seconds("elsewhere.example") == 0.1
    learn("bounced", 6.0, "b@example.org", code=550, enhanced="5.1.1", text="no such user")
    [at_once] = evidence.answers("m", "b@example.org")
    assert (at_once.outcome.verdict, at_once.outcome.kind) == (Verdict.FAILED, "InvalidRecipient")
    learn("deferred", 7.0, "c@example.org", code=451, text="later", mx="")
    learn("delivered", 9.0, "c@example.org")
    first, last = evidence.answers("m", "c@example.org")
    assert (first.outcome.verdict, first.reached, last.outcome) == (Verdict.DEFERRED, False, DELIVERED)
    learn("deferred", 7.0, "d@example.org", text="the host did not answer in time", **{"class": "ConnectionTLS"})
    learn("expired", 9.0, "d@example.org", text="its time was over")
    assert [one.outcome.verdict for one in evidence.answers("m", "d@example.org")] == [Verdict.DEFERRED] * 2


def test_a_reply_that_a_rule_turned_into_a_bounce_is_a_deferral_again():
    evidence = Evidence()
    evidence.learn({"time": 6.0, "event": "bounced", "message": "m", "recipient": "b@example.org", "phase": "rcpt",
                    "code": 450, "text": "mailbox is full"})  # fmt: skip
    assert evidence.answers("m", "b@example.org")[0].outcome.verdict is Verdict.DEFERRED


def test_an_attempt_is_told_what_was_said_before_it():
    later, never = (Outcome(Verdict.DEFERRED, Scope.MESSAGE, Phase.DOT, text=text) for text in ("later", "never"))
    said = (Answer(100.0, later, True), Answer(200.0, never, True), Answer(300.0, DELIVERED, True))
    told = [answer_at(said, now).outcome for now in (50.0, 150.0, 250.0, 301.0)]
    assert told == [later, later, never, DELIVERED]


def test_of_many_answers_the_first_and_the_last_are_kept():
    evidence = Evidence()
    for number in range(30):
        evidence.learn({"time": float(number), "event": "deferred", "message": "m", "recipient": "a@example.org",
                        "phase": "rcpt", "code": 451, "text": f"try {number}"})  # fmt: skip
    kept = [one.at for one in evidence.answers("m", "a@example.org")]
    assert kept == [0.0, *map(float, range(19, 30))]


def test_more_destinations_than_are_kept(monkeypatch):
    monkeypatch.setattr("relay.policy.answers.DESTINATIONS_MOST", 1)
    evidence = Evidence()
    for domain in ("a.example", "b.example", "a.example"):
        evidence.learn({"event": "delivered", "message": "m", "recipient": f"x@{domain}", "phase": "dot", "mx": "mx"})
    assert evidence.host == {"a.example": "mx"}


# The simulation by itself


GOOGLE = "mx1.google.com"
SHARED = ("{name: m1, address: 192.0.2.2}", "{name: t1, address: 192.0.2.1}")


def simulation(tmp_path, *changes):
    return Simulation(policy(tmp_path, *changes))


def send(one, stream, host=GOOGLE, *, at=START, seconds=0.0, answers=AT_ONCE, **more):
    one.accept(at, Mail(stream, at, **more), [Recipient(host, seconds, answers)])


def said(code, since, *, phase=Phase.DOT, enhanced="", text="no"):
    return Answer(since, judge_reply(phase, Reply(code, enhanced, (text,))), True)


def test_a_stream_that_is_not_there_sends_nothing(tmp_path):
    one = simulation(tmp_path)
    send(one, "gone")
    one.finish()
    assert one.sends == {}


def test_connections_bound_what_goes_at_once(tmp_path):
    one = simulation(tmp_path)
    for _ in range(50):
        send(one, "marketing", seconds=10.0)
    one.finish()
    assert one.now - START == 100  # five at a time, ten seconds each
    assert one.results["marketing"].delivered == 50
    assert one.results["marketing"].last_at == START + 100


def test_a_new_code_takes_the_next_slot_and_the_reserve(tmp_path):
    one = simulation(tmp_path, SHARED)
    for _ in range(50):
        send(one, "marketing", seconds=100.0)
    send(one, "transactional", at=START + 1, seconds=1.0)
    one.finish()
    assert one.results["transactional"].in_time == 1
    assert one.now - START == 50 / 2 * 100  # three of five connections were never theirs


def test_without_a_reserve_priority_still_goes_first(tmp_path):
    one = simulation(tmp_path, SHARED, ("    reserve: 50%\n", ""))
    for _ in range(50):
        send(one, "marketing", seconds=100.0)
    send(one, "transactional", at=START + 1, seconds=1.0)
    one.finish()
    assert one.results["transactional"].quantile(1.0) == 300


def test_equal_streams_share_a_pool_by_weight(tmp_path):
    alerts = "  alerts: {pool: marketing, weight: 3, retry: {after: [15m], then: 1h, expire: 72h}}\n"
    equal = ("  marketing: {pool: marketing,", f"{alerts}  marketing: {{pool: marketing,")
    one = simulation(tmp_path, equal, (GMAIL + "connections: 5", GMAIL + "connections: 1"))
    for number in range(80):
        send(one, ("marketing", "alerts")[number % 2], seconds=1.0)
    send(one, "transactional", at=START + 40)
    assert one.results["alerts"].delivered == pytest.approx(30, abs=1)
    assert one.results["marketing"].delivered == pytest.approx(10, abs=1)


def test_a_named_limit_is_shared_by_all_sources_and_sites(tmp_path):
    limit = ("providers:\n", "limits:\n  shared: {connections: 2}\nproviders:\n")
    last = ('mx: "*", per_source: {connections: 20}', 'mx: "*", limits: [shared], per_source: {connections: 2}')
    one = simulation(tmp_path, limit, last, ("    reserve: 50%\n", ""))
    for number in range(20):
        send(one, "marketing", f"mx.site{number}.example", seconds=10.0)
    send(one, "transactional", "mx.site3.example", at=START + 1, seconds=10.0)
    one.finish()
    assert one.now - START == 110  # 21 attempts, two at a time
    assert one.results["transactional"].last_at == START + 20  # and the higher stream was the next


def test_new_connections_are_counted_by_messages_each(tmp_path):
    limits = "per_source: {connections: 1, messages_per_connection: 2, new_connections: 60/min}"
    one = simulation(tmp_path, ("per_source: {connections: 5}", limits))
    for _ in range(10):
        send(one, "marketing")
    one.finish()
    assert one.now - START == pytest.approx(4)  # five connections, one a second


def test_a_site_keeps_its_source_and_another_takes_over_what_warm_up_leaves(tmp_path):
    warm = "{name: m1, address: 192.0.2.2, warmup: {started: 2026-09-21, per_hour: 10, factor: 2, until: 1000}}"
    both = simulation(tmp_path, ("[{name: m1, address: 192.0.2.2}]", f"[{warm}, {{name: m2, address: 192.0.2.3}}]"))
    for _ in range(30):
        send(both, "marketing")
    both.finish()
    assert sum(both.left.values()) == 30
    assert both.left.get("m1", 0) in (0, 10)  # m2 where the site is its own, else ten and the rest overflows
    (tmp_path / "1").mkdir()
    alone = simulation(tmp_path / "1", ("[{name: m1, address: 192.0.2.2}]", f"[{warm}]"))
    for _ in range(30):
        send(alone, "marketing")
    alone.finish()
    assert 2 * 3600 <= alone.now - START <= 2 * 3700  # ten an hour
    assert alone.results["marketing"].delivered == 30


def test_trouble_lasts_until_the_time_it_was_seen_to_end(tmp_path):
    one = simulation(tmp_path)
    later = said(451, START)
    for answers in (
        (later, Answer(START + 100, DELIVERED, True)), (later, said(550, START + 100)), (later,), (said(550, START),),
    ):  # fmt: skip
        send(one, "transactional", "mx.example.org", answers=answers)
    one.finish()
    result = one.results["transactional"]
    assert (result.delivered, result.bounced, result.expired, result.in_time) == (1, 2, 1, 0)
    assert one.now - START == 86400


def test_a_receiver_that_has_too_much_gets_half_as_many_connections(tmp_path):
    one = simulation(tmp_path)
    for _ in range(10):
        send(one, "marketing", seconds=10.0, answers=(said(421, START), Answer(START + 60, DELIVERED, True)))
    send(one, "transactional", at=START + 20)
    gate = one.doorways.gates[("192.0.2.2", "gmail")].gate
    one.finish()
    assert gate.window < 5
    assert one.results["marketing"].delivered == 10


def test_destinations_nobody_named_are_told_apart_by_site(tmp_path):
    one = simulation(tmp_path)
    hosts = ("mx1.example.org", "mx2.example.org", "example.net", "mx1.google.com", "mx2.google.com")
    assert len({one.doorways.terms(host)[0].counted for host in hosts}) == 3


def test_quantiles_are_upper_bounds():
    result = Result()
    assert result.quantile(0.5) == 0
    result.delivered, result.delays[0], result.delays[3], result.delays[-1] = 100, 90, 9, 1
    assert [result.quantile(share) for share in (0.5, 0.99, 1.0)] == [DELAYS_S[0], DELAYS_S[3], float("inf")]


# The command


@pytest.fixture
def log(tmp_path):
    return str(write(tmp_path / "events.jsonl", [*day(), {"event": "accepted", "torn": 1}, 5]))


def replay(log, tmp_path, *words):
    folders = ["--policies", str(tmp_path / "new"), "--against", str(tmp_path / "old")]
    return run_app(["policy", "replay", log, *folders, *words])


def test_the_command_says_that_nothing_differs(log, tmp_path, capsys):
    policy(tmp_path), policy(tmp_path, name="new")
    with open(log, "a") as file:
        file.write('{"event":"accepted","half')
    assert replay(log, tmp_path, "--fail-on-difference") == 0
    assert "nothing would differ" in capsys.readouterr().out


def test_the_command_says_what_differs(log, tmp_path, capsys):
    policy(tmp_path), policy(tmp_path, ("List-Unsubscribe: present", "X-Bulk: present"), name="new")
    assert replay(log, tmp_path) == 0
    assert replay(log, tmp_path, "--fail-on-difference") == 1
    text = capsys.readouterr().out
    assert "STREAM BEFORE  AFTER" in text
    assert "400 messages do not tell of the header x-bulk" in text
    assert "something would differ" in text
    assert replay(log, tmp_path, "--json", "--fail-on-difference") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["differs"] is True
    assert told["streams"][0]["messages"] == 200
    assert told["results"]["marketing"]["after"] is None
    assert {"hour", "provider", "before", "after"} == set(told["sends"][0])


def test_the_command_says_what_it_could_not_know(tmp_path, capsys):
    policy(tmp_path), policy(tmp_path, (GMAIL, GMAIL + "messages: 1/h, "), name="new")
    rows = [*day(facts=False), {"time": 1.0, "event": "accepted", "message": "?", "recipients": [], "size": 1},
            {"event": "delivered", "phase": "dot"}]  # fmt: skip
    log = str(write(tmp_path / "events.jsonl", rows))
    assert replay(log, tmp_path) == 0
    text = capsys.readouterr().out
    assert "400 messages were recorded without facts" in text
    assert "1 events could not be read" in text
    assert "more: --json shows all" in text


def test_a_log_without_mail_and_no_log_at_all(tmp_path, capsys):
    policy(tmp_path), policy(tmp_path, name="new")
    assert replay(str(write(tmp_path / "events.jsonl", [])), tmp_path) == 1
    assert "no accepted message" in capsys.readouterr().err
    assert replay(str(tmp_path / "none.jsonl"), tmp_path) == 2
    assert "cannot be read" in capsys.readouterr().err
