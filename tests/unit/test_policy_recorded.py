"""What the event log keeps of a decision, and that it is enough to decide again."""

import pytest

from relay.config.read import load_policies
from relay.core.content import Content, MemoryBody
from relay.core.envelope import Envelope, Recipient
from relay.core.events import accepted_event
from relay.core.headers import Headers
from relay.core.ids import message_id
from relay.core.message import Once, Prepared
from relay.policy.decide import decide
from relay.policy.facts import Facts
from relay.policy.recorded import facts_of, headers_asked, record

POLICY = r"""
streams:
  quick: {pool: main, retry: {after: [1m], then: 1h, expire: 24h}}
  bulk: {pool: main, retry: {after: [1m], then: 1h, expire: 24h}}
pools: {main: {sources: [{name: s1}]}}
providers: {everyone: {mx: "*"}}
routes:
  - name: lists
    when: {any: [{header: {List-Unsubscribe: present}}, {header: {Precedence: [bulk, list]}}, {subject: "~^Sale"}]}
    stream: bulk
    tag: {campaign: "{header:X-Campaign}", who: "{sender}"}
  - name: plain
    when: {all: [{not: {header: {X-Bulk: present}}}, {size: "<1MB"}]}
    stream: quick
    headers: {add: {X-From: "{header:X-App}"}}
  - {name: all, stream: quick}
"""
SECRET = b"Authorization: Bearer 12345\r\n"


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "all.yaml").write_text(POLICY)
    policy, problems = load_policies(tmp_path)
    assert problems == []
    return policy


def facts(block, **more):
    given = {"listener": "apps", "client": "10.0.0.7", "credential": "", "sender": "a@example.com",
             "recipients": ("b@example.org",), "size": 100, "hour": 12}  # fmt: skip
    return Facts(headers=Headers.parse(block), **{**given, **more})


def test_the_names_rules_ask_for_and_whether_they_read(policy):
    assert policy.asked == {
        "list-unsubscribe": False, "precedence": True, "subject": True, "x-app": True, "x-bulk": False,
        "x-campaign": True,
    }  # fmt: skip
    assert headers_asked([]) == {}


def test_nothing_else_is_kept_and_values_only_where_rules_read(policy):
    kept = record(facts(SECRET + b"list-unsubscribe: <https://example.com/u?secret>\r\nSubject: Hi\r\n"), policy.asked)
    assert kept["headers"] == {
        "list-unsubscribe": [""], "precedence": [], "subject": ["Hi"], "x-app": [], "x-bulk": [], "x-campaign": [],
    }  # fmt: skip
    assert set(kept) == {"headers", "size"}


def test_what_is_kept_is_bounded(policy):
    kept = record(facts(b"Subject: " + b"x" * 900 + b"\r\n" + b"Precedence: bulk\r\n" * 50), policy.asked)
    assert len(kept["headers"]["subject"][0]) == 200
    assert len(kept["headers"]["precedence"]) == 5


@pytest.mark.parametrize(
    ("block", "more"),
    [
        (b"", {}),
        (b"List-Unsubscribe: <mailto:u@example.com>\r\nX-Campaign: autumn\r\n", {}),
        (b"Precedence: =?utf-8?q?bulk?=\r\n", {"sender": ""}),
        (b"Subject: Sale\r\n today\r\n", {"client": "2001:db8::1"}),
        (b"X-Bulk: yes\r\nSubject: caf\xc3\xa9 \xff\r\n", {"credential": "shop"}),
        (b"Subject: Sale\r\n", {"chosen_stream": "quick"}),
        (b"Subject: Hi\r\n", {"forced_stream": "bulk", "size": 2_000_000}),
    ],
)
def test_decided_again_it_comes_out_the_same(policy, block, more):
    asked = facts(block, **more)
    message = Prepared(
        message_id(1_700_000_000.0, bytes(6)), 1_700_000_000.0, 0.0,
        Envelope(asked.sender, (Recipient("b@example.org"),)),
        asked.sender, "quick", "main", "r", credential=asked.credential, client=asked.client, listener=asked.listener,
        facts=record(asked, policy.asked), held=True, content=Content(b"x" * 999, MemoryBody(b"")),
    )  # fmt: skip
    row = accepted_event(message, 1_700_000_000.2).as_dict("relay.example.com")
    assert row["held"] is True
    again = facts_of(row)
    assert (again.hour, again.size, again.recipients) == (22, asked.size, asked.recipients)
    one, other = decide(policy, asked), decide(policy, again)
    assert (one.stream, one.route, one.tags) == (other.stream, other.route, other.tags)


def test_an_event_without_facts_still_has_its_envelope():
    row = {"time": 1_700_000_000.0, "recipients": ["b@example.org"], "size": 5, "sender": "a@example.com"}
    assert facts_of(row).sender == "a@example.com"
    assert facts_of(row).hour == 22
    assert "facts" not in accepted_event(
        Prepared("0" * 19, 0.0, 0.0, Envelope("", ()), "", "s", "p", "r", content=Content(b"", MemoryBody(b""))), 0.0
    ).detail  # fmt: skip


def test_where_a_message_came_from_and_its_key_are_in_its_event():
    message = Prepared(
        "0" * 19, 0.0, 0.0, Envelope("", ()), "", "s", "p", "r", origin="postfix 4ABC",
        once=Once("credential shop", "order-17", "d", 9.0), content=Content(b"", MemoryBody(b"")),
    )  # fmt: skip
    detail = accepted_event(message, 0.0).detail
    assert (detail["origin"], detail["idempotency_key"]) == ("postfix 4ABC", "order-17")


def test_what_no_relay_wrote_is_an_error():
    with pytest.raises(KeyError):
        facts_of({"time": 0.0})
    with pytest.raises(ValueError, match="substring"):
        facts_of({"message": "?", "recipients": [], "size": 1})
    for time in (1e300, -1.0, float("nan")):
        with pytest.raises(ValueError, match="no time of an event"):
            facts_of({"time": time, "recipients": [], "size": 1})
