"""Days of mail under other policies: which pauses, slow-downs and holds would begin and end when."""

import json
import re

import pytest

from relay.cli.app import run_app
from relay.config.read import load_policies
from relay.core.events import NAMES
from relay.policy.answers import Evidence
from relay.policy.pauses import Held, Pauses, Span, compare, read_pause, same
from relay.policy.replay import Replay
from tests.unit.recorded_day import START, write

NOON = START + 43_200.0
GMAIL, ELSEWHERE = "gmail-smtp-in.l.google.com", "mx.{}.example"
FLOOD = "our system has detected an unusual rate of mail"
POLICY = """
streams:
  transactional: {pool: transactional, priority: 100, retry: {after: [1m, 5m], then: 1h, expire: 24h}}
  marketing:
    pool: marketing
    retry: {after: [15m], then: 30m, expire: 24h}
    #STREAM
pools:
  transactional: {sources: [{name: t1, address: 192.0.2.1}]}
  marketing: {sources: [{name: m1, address: 192.0.2.2}]}
routes:
  - {name: newsletters, when: {header: {List-Unsubscribe: present}}, stream: marketing,
     tag: {campaign: "{header:X-Campaign}"}}
  - {name: everything else, stream: transactional}
providers:
  gmail:
    mx: "*.google.com"
    per_source: {connections: 5}
    replies: [#REPLIES]
  everyone else: {mx: "*"}
"""
PAUSE = "{pause: source, for: 30m}"


def rule(do, more=""):
    """A reply rule for the flood."""
    return f"{{name: flooded, match: '*unusual rate*', sample: 421 4.7.28 {FLOOD}, do: {do}{more}}}"


def policy(folder, *, stream="", replies="", change=("", "")):
    folder.mkdir()
    text = POLICY.replace("#STREAM", stream).replace("[#REPLIES]", f"[{replies}]" if replies else "[]")
    text = text.replace("    replies: []\n", "").replace(*change)
    (folder / "all.yaml").write_text(text)
    found, problems = load_policies(folder)
    assert problems == []
    return found


def newsletter(number, *answers, at=NOON, domain="gmail.com", mx=GMAIL, campaign="autumn", **more):
    """One message of a campaign with the answers its recipient had: (seconds after it came, event, fields)."""
    message, recipient = f"{number:020d}", f"u{number}@{domain}"
    common = {"message": message, "stream": "marketing", "route": "newsletters", "sender": "news@example.com",
              "tags": {"campaign": campaign}}  # fmt: skip
    facts = {"headers": {"list-unsubscribe": [""], "x-campaign": [campaign]}, "size": 4000}
    rows = [{"time": at, "event": "accepted", **common, "listener": "apps", "client": "10.0.0.7", "credential": "crm",
             "size": 4000, "recipients": [recipient], "facts": facts, **more}]  # fmt: skip
    for after_s, event, fields in answers:
        rows.append({"time": at + after_s, "event": event, **common, "recipient": recipient, "phase": "dot",
                     "mx": mx, "source": "m1", "provider": "gmail", "seconds": 1.0, **fields})  # fmt: skip
    return rows


TAKEN = (1.0, "delivered", {})
TOO_FAST = {"code": 421, "enhanced": "4.7.28", "text": FLOOD, "class": "RateLimited"}
UNKNOWN = {"code": 550, "enhanced": "5.1.1", "text": "no such user", "class": "InvalidRecipient", "phase": "rcpt"}


@pytest.fixture(autouse=True)
def ids(monkeypatch):
    """Messages are numbered here, not stamped with their time."""
    monkeypatch.setattr("relay.policy.recorded.made_at", lambda message: NOON)


def flooded_noon(count=600, flood=range(100, 160)):
    """A campaign at noon, two messages a second; for half a minute Gmail says that it is too fast."""
    rows = []
    for number in range(count):
        told = [(1.0, "deferred", TOO_FAST), (900.0, "delivered", {})] if number in flood else [TAKEN]
        rows += newsletter(number, *told, at=NOON + number * 0.5)
    return sorted(rows, key=lambda row: row["time"])


def played(tmp_path, rows, old, new):
    evidence = Evidence()
    for row in rows:
        evidence.learn(row)
    replay = Replay(policy(tmp_path / "old", **old), policy(tmp_path / "new", **new), evidence)
    for row in rows:
        replay.play(row)
    replay.end()
    assert replay.unreadable == 0
    return replay


def pauses(simulation):
    return {held: [(span.since, span.until) for span in spans]
            for held, spans in simulation.restraints.pauses.spans.items()}  # fmt: skip


# Reply rules


def test_a_new_reply_rule_pauses_the_source_and_the_campaign_is_over_later(tmp_path):
    replay = played(tmp_path, flooded_noon(), {}, {"replies": rule(PAUSE)})
    assert pauses(replay.old) == {}
    [(held, [(since, until)])] = pauses(replay.new).items()
    assert held == Held("source m1", "pause", "gmail", "flooded")
    assert since == NOON + 51.0  # the first message of the flood came after 50 s and was answered a second later
    assert until - since == pytest.approx(1800, abs=10)  # counted from the last such reply
    assert replay.new.results["marketing"].delivered == replay.old.results["marketing"].delivered == 600
    assert replay.new.results["marketing"].last_at > replay.old.results["marketing"].last_at + 600
    assert replay.differs
    assert not replay.routes


def test_a_threshold_that_is_not_reached_pauses_nothing(tmp_path):
    replies = rule("{pause: stream, for: 30m}", ", after: 100 in 1h")
    assert pauses(played(tmp_path, flooded_noon(), {}, {"replies": replies}).new) == {}


def test_a_threshold_that_is_reached_pauses_the_stream(tmp_path):
    replies = rule("{pause: stream, for: 30m}", ", after: 20 in 1h")
    [(held, [(since, _)])] = pauses(played(tmp_path, flooded_noon(), {}, {"replies": replies}).new).items()
    assert held.whom == "stream marketing"
    # twenty replies at two a second; as each says that it is too much, the connections are halved meanwhile
    assert NOON + 51.0 + 19 * 0.5 <= since <= NOON + 51.0 + 19 * 1.0


def test_a_rule_that_is_only_observed_changes_nothing_but_is_told(tmp_path):
    replay = played(tmp_path, flooded_noon(), {}, {"replies": rule(PAUSE, ", observe: true")})
    [held] = pauses(replay.new)
    assert held.what == "pause (observed only)"
    assert replay.new.sends == replay.old.sends


def test_slower_and_fewer_connections_spread_the_sends(tmp_path):
    slow = "{slow_to: 6/min, connections: 2, for: 1h}"
    replay = played(tmp_path, flooded_noon(), {}, {"replies": rule(slow)})
    assert {held.what for held in pauses(replay.new)} == {"slow to 6/min", "2 connections"}
    noon = (int(NOON // 3600), "gmail")
    assert replay.new.sends[noon] < replay.old.sends[noon]
    assert replay.new.results["marketing"].delivered == 600


def test_a_rule_that_bounces_ends_what_was_deferred(tmp_path):
    replay = played(tmp_path, flooded_noon(), {}, {"replies": rule("{bounce: true}")})
    assert (replay.old.results["marketing"].bounced, replay.new.results["marketing"].bounced) == (0, 60)


BLOCKED = {"code": 554, "enhanced": "5.7.1", "text": f"blocked: {FLOOD}", "class": "PolicyRelated"}


def test_a_block_that_a_rule_knows_is_not_the_messages_fault(tmp_path):
    """As in the relay: 554 bounces where no rule speaks of it, and is deferred where one pauses the source."""
    rows = []
    for number in range(600):
        told = [(1.0, "deferred", BLOCKED), (1900.0, "delivered", {})] if 100 <= number < 103 else [TAKEN]
        rows += newsletter(number, *told, at=NOON + number * 0.5)
    replay = played(tmp_path, sorted(rows, key=lambda row: row["time"]), {}, {"replies": rule(PAUSE)})
    assert (replay.old.results["marketing"].bounced, replay.new.results["marketing"].bounced) == (3, 0)
    assert replay.new.results["marketing"].delivered == 600
    bounces = rule("{pause: source, for: 30m, bounce: true}")
    (tmp_path / "again").mkdir()
    again = played(tmp_path / "again", rows, {"replies": rule(PAUSE, ", after: 9 in 1h")}, {"replies": bounces})
    assert (again.old.results["marketing"].bounced, again.new.results["marketing"].bounced) == (0, 3)


def test_after_a_pause_one_message_tries_and_the_pause_comes_back_with_one_reply(tmp_path):
    """Gmail says for two hours that it is too fast; five at once may go. Each pause costs one attempt more."""
    rows = []
    for number in range(300):
        told = [(1.0, "deferred", TOO_FAST), (7200.0, "delivered", {})]
        rows += newsletter(number, *told, at=NOON + number * 0.1)
    rows.sort(key=lambda row: row["time"])
    retry = ("retry: {after: [15m], then: 30m, expire: 24h}", "retry: {after: [15m], then: 15m, expire: 24h}")
    do = "{pause: source, for: 20m, up_to: 40m}"
    replay = played(tmp_path, rows, {}, {"replies": rule(do, ", after: 3 in 10s"), "change": retry})
    [spans] = pauses(replay.new).values()
    assert [round((until - since) / 60) for since, until in spans[:4]] == [20, 40, 40, 40]
    tried = sum(count for (hour, _), count in replay.new.sends.items() if hour < (NOON + 7200) // 3600)
    assert tried <= 5 + 3 + 4, "more than one knocked after a pause"
    assert replay.new.results["marketing"].delivered == 300


def test_a_wait_that_a_rule_asks_for_replaces_the_schedule(tmp_path):
    replay = played(tmp_path, flooded_noon(), {}, {"replies": rule("{retry: 5h}")})
    assert replay.new.results["marketing"].last_at > NOON + 5 * 3600


def test_other_replies_are_nobodys_business(tmp_path):
    rows = flooded_noon() + newsletter(9000, (1.0, "bounced", UNKNOWN), at=NOON + 400)
    replay = played(tmp_path, sorted(rows, key=lambda row: row["time"]), {}, {"replies": rule(PAUSE)})
    assert replay.new.results["marketing"].bounced == 1
    assert len(pauses(replay.new)) == 1


def test_which_rule_takes_a_reply_is_remembered_of_so_many_only(tmp_path, monkeypatch):
    monkeypatch.setattr("relay.policy.restraints.RULES_KEPT", 1)
    monkeypatch.setattr("relay.policy.answers.SAID_MOST", 0)
    other = {**TOO_FAST, "text": "another word"}
    rows = newsletter(1, (1.0, "deferred", other)) + newsletter(2, (1.0, "deferred", TOO_FAST))
    assert len(pauses(played(tmp_path, rows, {}, {"replies": rule(PAUSE)}).new)) == 1


def test_a_pause_that_ends_before_another(tmp_path):
    """Two rules, a long pause and a short one: the short one is over first, and mail waits for the long one."""
    spam = "{name: spam, match: '*spam*', sample: 421 spam, do: {pause: source, for: 3h}}, "
    rows = newsletter(1, (1.0, "deferred", {**TOO_FAST, "text": "spam"}), (9000.0, "delivered", {}))
    rows += newsletter(2, (2.0, "deferred", TOO_FAST), (9000.0, "delivered", {}), at=NOON)
    rows += newsletter(3, TAKEN, at=NOON + 10)
    replay = played(tmp_path, rows, {}, {"replies": spam + rule(PAUSE)})
    ends = sorted(until - NOON for [(_, until)] in pauses(replay.new).values())
    assert ends == pytest.approx([1801, 3 * 3600 + 1])
    assert replay.new.results["marketing"].delivered == 3


# Brakes


def bad_list(count=400):
    """A campaign in which one recipient in five does not exist, beside one that is well."""
    rows = []
    for number in range(count):
        told = [(1.0, "bounced", UNKNOWN)] if number % 5 == 0 else [TAKEN]
        rows += newsletter(number, *told, at=NOON + number)
        rows += newsletter(10_000 + number, TAKEN, at=NOON + number, campaign="winter")
    return sorted(rows, key=lambda row: row["time"])


def test_a_brake_would_have_held_the_campaign_with_the_bad_list(tmp_path):
    brake = "brakes: [{when: bounce_rate > 5%, over: 1h, at_least: 100, by: campaign, do: hold}]"
    replay = played(tmp_path, bad_list(), {}, {"stream": brake})
    assert pauses(replay.old) == {}
    [(held, [(since, until)])] = pauses(replay.new).items()
    assert held == Held("campaign autumn of stream marketing", "hold", "", "bounce_rate")
    assert since == NOON + 101.0  # the first bounce at or after the hundredth answer
    assert until is None
    result = replay.new.results["marketing"]
    assert result.kept == 400 - 101
    assert result.delivered == 400 + 80  # the other campaign is not touched


def test_a_brake_with_a_time_lets_the_held_mail_go(tmp_path):
    brake = "brakes: [{when: bounce_rate > 5%, over: 1h, at_least: 100, by: campaign, do: hold, for: 2h}]"
    replay = played(tmp_path, bad_list(), {}, {"stream": brake})
    spans = next(iter(pauses(replay.new).values()))
    assert spans[0][1] - spans[0][0] == 7200
    assert replay.new.results["marketing"].kept == 0
    assert replay.new.results["marketing"].delivered == 720


def test_a_brake_that_trips_earlier_is_the_same_brake(tmp_path):
    brakes = [f"brakes: [{{when: unknown_user_rate > {share}%, over: 1h, at_least: {least}, do: pause, for: 1h}}]"
              for share, least in ((5, 300), (2, 50))]  # fmt: skip
    replay = played(tmp_path, bad_list(), {"stream": brakes[0]}, {"stream": brakes[1]})
    rows = list(compare(replay.old.restraints.pauses, replay.new.restraints.pauses))
    held, (before, after) = rows[0]
    assert held == Held("stream marketing", "pause", "", "unknown_user_rate")
    assert after.since < before.since
    assert not same((before, after))
    assert "unknown_user_rate > 2%" in after.because


def test_a_provider_that_defers_is_asked_less(tmp_path):
    slow = "by: provider, do: slow, slow_to: 6/min, for: 1h"
    brake = f"brakes: [{{when: deferral_rate > 50%, over: 10m, at_least: 20, {slow}}}]"
    replay = played(tmp_path, flooded_noon(), {}, {"stream": brake})
    assert [(held.whom, held.what) for held in pauses(replay.new)] == []  # 60 of 160 are not half
    (tmp_path / "more").mkdir()
    replay = played(tmp_path / "more", flooded_noon(flood=range(300)), {}, {"stream": brake})
    [held] = pauses(replay.new)
    assert (held.whom, held.what) == ("provider gmail of stream marketing", "slow")


def test_what_a_brake_held_on_the_day_is_the_simulations_to_say(tmp_path):
    brake = "brakes: [{when: bounce_rate > 50%, over: 1h, at_least: 100, by: campaign, do: hold}]"
    rows = newsletter(1, TAKEN, held=True)
    replay = played(tmp_path, rows, {"stream": brake}, {"stream": brake})
    assert replay.holds == {}
    assert replay.new.results["marketing"].delivered == 1
    (tmp_path / "rule").mkdir()
    replay = played(tmp_path / "rule", rows, {}, {})
    assert list(replay.holds) == [("held", "not held")]


# Sources at the door


def at_door(at, provider, code=554):
    return {"time": at, "event": "attempted", "source": "m1", "mx": ELSEWHERE.format(provider), "phase": "banner",
            "code": code, "enhanced": "", "text": "your address is blocked", "class": "PolicyRelated"}  # fmt: skip


def test_a_source_most_receivers_turn_away_is_left_alone(tmp_path):
    rows = [at_door(NOON + number, f"p{number}") for number in range(4)]
    rows += [row for number in range(5) for row in newsletter(number, TAKEN, at=NOON + 10)]
    spare = ("{name: m1, address: 192.0.2.2}", "{name: m2, address: 192.0.2.9}")
    replay = played(tmp_path, rows, {}, {"change": spare})
    assert pauses(replay.old) == {
        Held("source m1", "pause", "", "turned away at the door"): [(NOON + 2, NOON + 2 + 1800)]
    }
    assert pauses(replay.new) == {}  # nobody knows what the other address would have met
    assert (replay.old.passed_over, replay.new.passed_over) == (1, 4)
    assert replay.old.results["marketing"].last_at >= NOON + 1800
    assert replay.new.results["marketing"].last_at < NOON + 60


def test_one_that_was_left_alone_begins_anew_with_one_connection(tmp_path):
    """Five messages of a second each: one, then two, then the rest; nobody else is slowed."""
    rows = [at_door(NOON + number, f"p{number}") for number in range(3)]
    rows += [row for number in range(5) for row in newsletter(number, TAKEN, at=NOON + 10)]
    no_newsletter = {"headers": {"list-unsubscribe": [], "x-campaign": []}, "size": 4000}
    for number in range(5, 10):
        rows += newsletter(
            number, TAKEN, at=NOON + 1850, facts=no_newsletter, stream="transactional", route="everything else"
        )
    rows += newsletter(99, TAKEN, at=NOON + 10, facts=no_newsletter, stream="transactional", route="everything else")
    rows.sort(key=lambda row: row["time"])
    simulation = played(tmp_path, rows, {}, {}).old
    [[(_, until)]] = pauses(simulation).values()
    assert simulation.results["marketing"].last_at == until + 3
    assert simulation.results["transactional"].last_at == NOON + 1851


def test_one_that_is_let_in_elsewhere_is_not(tmp_path):
    rows = [row for number in range(5) for row in newsletter(
        number, TAKEN, at=NOON, domain=f"q{number}.example", mx=ELSEWHERE.format(f"q{number}"))]  # fmt: skip
    rows += [at_door(NOON + 10 + number, f"p{number}") for number in range(3)]
    rows += [at_door(NOON + 20, "p9", code=421)]  # busy is not blocked
    assert pauses(played(tmp_path, rows, {}, {}).old) == {}


# Quotas


def test_a_quota_makes_the_client_come_again(tmp_path):
    rows = [row for number in range(100) for row in newsletter(number, TAKEN, at=NOON + number)]
    replay = played(tmp_path, rows, {}, {"stream": "quota: {rate: 30/min}"})
    assert replay.new.stocks.turned_back[("marketing", "rate")] > 0
    assert replay.new.results["marketing"].delivered == 100
    assert replay.new.results["marketing"].last_at > replay.old.results["marketing"].last_at
    assert replay.differs


def test_a_quota_that_never_frees_ends_the_clients_patience(tmp_path):
    brake = "brakes: [{when: bounce_rate > 5%, over: 1h, at_least: 10, do: pause}]\n    quota: {messages: 20}"
    replay = played(tmp_path, bad_list(100), {}, {"stream": brake})
    assert replay.new.stocks.turned_back[("marketing", "messages")] > 0
    assert replay.new.given_up > 0
    assert replay.new.results["marketing"].kept == 20


# What the log says itself

LIMIT = {"time": 5.0, "event": "source_paused", "id": "a1", "by": "reply rule", "what": "pause", "source": "m1",
         "provider": "gmail", "destination": "gmail", "rule": "flooded", "where": "providers.yaml:12", "until": 9.0,
         "seen": "421 slow"}  # fmt: skip
BRAKE = {"time": 5.0, "event": "stream_paused", "stream": "marketing", "id": "b2", "by": "brake", "what": "hold",
         "tags": {"campaign": "autumn"}, "rule": "bounce_rate > 5% over 3600 s by campaign, hold",
         "seen": "12 of 200"}  # fmt: skip
DOOR = {"time": 5.0, "event": "source_paused", "by": "health", "what": "pause", "source": "m1",
        "seen": "3 of 4 receivers turned it away"}  # fmt: skip
OFF, ON = {"event": "source_resumed", "id": "a1", "source": "m1"}, {"event": "stream_resumed", "id": "b2"}
PAIRS = [
    (LIMIT, OFF, Held("source m1", "pause", "gmail", "flooded")),
    ({**LIMIT, "event": "stream_paused", "source": "", "stream": "marketing"}, {**OFF, "event": "stream_resumed"},
     Held("stream marketing", "pause", "gmail", "flooded")),
    ({**LIMIT, "event": "source_limited", "what": "slow", "value": 0.5, "observed": True}, OFF,
     Held("source m1", "slow to 30/min (observed only)", "gmail", "flooded")),
    ({**LIMIT, "event": "source_limited", "what": "connections", "value": 2}, OFF,
     Held("source m1", "2 connections", "gmail", "flooded")),
    (BRAKE, ON, Held("campaign autumn of stream marketing", "hold", "", "bounce_rate")),
    ({**BRAKE, "tags": {}}, ON, Held("stream marketing", "hold", "", "bounce_rate")),
    ({**BRAKE, "tags": {}, "credential": "shop"}, ON,
     Held("credential shop of stream marketing", "hold", "", "bounce_rate")),
    ({**BRAKE, "tags": {}, "rule": "", "by": "operator", "what": "pause"}, ON,
     Held("stream marketing", "pause", "", "operator")),
    (DOOR, {"event": "source_resumed", "source": "m1"}, Held("source m1", "pause", "", "turned away at the door")),
]  # fmt: skip


@pytest.mark.parametrize(("begun", "ended", "held"), PAIRS)
def test_recorded_pauses_are_read(begun, ended, held):
    assert {begun["event"], ended["event"]} <= NAMES
    noted = Pauses()
    for row in (begun, begun, {**ended, "time": 9.0}, {**ended, "time": 11.0}):
        read_pause(noted, row)
    [(found, [span])] = noted.spans.items()
    assert found == held
    assert (span.since, span.until) == (5.0, 9.0)
    assert span.because


def test_the_same_pause_is_the_same_within_a_second():
    one = Span(10.0, 20.0)
    assert same((one, Span(10.5, 20.9)))
    assert not same((one, Span(12.0, 20.0)))
    assert not same((one, Span(10.0)))
    assert not same((one, None))
    assert same((None, None))


# The command


def test_the_command_shows_what_was_recorded_beside_both(tmp_path, capsys):
    log = str(write(tmp_path / "events.jsonl", [*flooded_noon(), LIMIT, BRAKE]))
    policy(tmp_path / "old"), policy(tmp_path / "new", replies=rule(PAUSE), stream="quota: {rate: 60/min}")
    command = ["policy", "replay", log, "--policies", str(tmp_path / "new"), "--against", str(tmp_path / "old")]
    assert run_app(command) == 0
    text = capsys.readouterr().out
    assert "HELD BACK" in text
    assert "source m1" in text
    assert re.search(r"09-21 12:0\d:\d\d to 12:3", text)
    assert "OVER ITS QUOTA" in text
    assert "2 pauses were recorded, 0 come of the old policies here" in text
    assert "nobody knows" in text
    assert run_app([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    flooded = [row for row in told["pauses"] if row["rule"] == "flooded"]
    assert flooded[0]["recorded"]["since"] == 5.0
    assert flooded[0]["before"] is None
    assert NOON + 51 <= flooded[0]["after"]["since"] <= NOON + 600
    assert told["quotas"][0]["quota"] == "rate"
    assert {"source", "before", "after"} == set(told["sources"][0])


def test_the_command_says_what_goes_on_and_what_was_given_up(tmp_path, capsys):
    rows = sorted([*bad_list(100), at_door(NOON + 1, "p1")], key=lambda row: row["time"])
    log = str(write(tmp_path / "events.jsonl", rows))
    brake = "brakes: [{when: bounce_rate > 5%, over: 1h, at_least: 10, do: pause}]\n    quota: {messages: 20}"
    spare = ("{name: m1, address: 192.0.2.2}", "{name: m2, address: 192.0.2.9}")
    policy(tmp_path / "old"), policy(tmp_path / "new", stream=brake, change=spare)
    command = ["policy", "replay", log, "--policies", str(tmp_path / "new"), "--against", str(tmp_path / "old")]
    assert run_app(command) == 0
    text = capsys.readouterr().out
    assert ", goes on" in text
    assert "1 refusals at a receiver's door met a source that would not have been there" in text
    assert "messages would have found their stream at its quota for a day" in text
    assert "SOURCE" in text
