"""Every mistake in a policy is told with its place and its remedy, all at once."""
# ruff: noqa: E501 - tables of messages as people see them

import json
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from relay.policy.build import build_policy
from relay.policy.examples import run_examples
from relay.policy.strict import load
from relay.policy.validate import Entry, validate

RETRY = "retry: {after: [1m], then: 1h, expire: 24h}"
GOOD = {
    "a.yaml": f"streams:\n  fast: {{pool: p, {RETRY}}}\n",
    "b.yaml": "pools:\n  p: {sources: [{name: s}]}\n",
    "c.yaml": "routes:\n  - {name: rest, stream: fast}\n",
    "d.yaml": "providers:\n  rest: {mx: '*'}\n",
}


def complaints(listeners=None, credentials=None, **files):
    texts = GOOD | {f"{name}.yaml": text for name, text in files.items()}
    trees = {name: load(text, name)[0] for name, text in texts.items()}
    trees = {name: node for name, node in trees.items() if node}
    policy, problems = build_policy(trees, folder="policies", listeners=listeners, credentials=credentials)
    assert (policy is None) is bool(problems)
    return [str(problem) for problem in problems]


def stream(text, name="fast"):
    return f"streams:\n  {name}: {{pool: p, {RETRY}, {text}}}\n"


def route(text):
    return f"routes:\n  - {{name: r, {text}}}\n  - {{name: rest, stream: fast}}\n"


def test_what_pydantic_says_is_told_in_its_own_words():
    class Short(Entry):
        word: Annotated[str, Field(max_length=3)]

    _, [problem] = validate(Short, load("word: long\n", "x.yaml")[0], "x.yaml")
    assert str(problem) == "x.yaml:1:7: word: string should have at most 3 characters"


def test_good_ones():
    assert complaints() == []


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        # the form of a file
        ("x", "- 1\n", "x.yaml:1:1: a policy file is a mapping of sections, not a list (sections: streams, pools"),
        ("x", "stream: {}\n", "x.yaml:1:1: unknown section `stream` (did you mean `streams`? allowed: streams,"),
        ("x", "streams: []\n", "x.yaml:1:1: `streams` must be a mapping of names to settings"),
        ("x", "tests: {}\n", "x.yaml:1:1: `tests` must be a list; start each entry with `- name:`"),
        ("a", "", "policies: no file has `streams:` (start from policies/ as shipped)"),
        ("x", stream("weight: 1"), "x.yaml:2:3: `fast` is there already, in a.yaml:2 (rename one of them)"),
        ("x", "routes:\n  - {name: rest, stream: fast}\n", "`rest` is there already, in c.yaml:2"),
        # keys and values
        ("a", stream("prioritty: 1"), "a.yaml:2:64: unknown key `prioritty` (did you mean `priority`? allowed: pool,"),
        ("a", stream("zzz: 1"), "unknown key `zzz` (allowed: pool, retry, dkim, return_path, priority, weight,"),
        ("a", "streams:\n  fast: {pool: p}\n", "a.yaml:2:3: `retry` is missing in `streams.fast` (add it)"),
        ("a", "streams:\n  fast: 7\n", "a.yaml:2:9: streams.fast: must be a mapping of settings, not `7`"),
        ("a", stream("dkim: [{domain: from, selector: a, algorithm: rsa2}]"),
         "`rsa2` is not allowed (did you mean `rsa`? allowed: rsa, ed25519)"),
        ("a", stream("dkim: {domain: from}"), "fast.dkim: must be a list, not a mapping"),
        ("a", stream("dkim: [{domain: from, selector: s, keys: 1}]"), "unknown key `keys` (did you mean `key`?"),
        ("a", stream("dkim: [{domain: from, selector: s, key: {path: 1}}]"), "unknown key `path`"),
        ("a", stream("objective: {within: 0s, for: 50%}"), "objective.within: must be more than 0, not `0s`"),
        ("a", stream("objective: {within: 1s, for: 100%}"), "`100%` can never be promised (write more than 0% and less than 100%"),
        ("a", stream("priority: '5'"), "fast.priority: \"5\" must be a whole number"),
        ("a", stream("reserve: 101%"), "`101%` is no share (write it from 0% to 100%, like 50% or 99.9%)"),
        ("a", stream("return_path: 'a b@c'"), "`a b@c` is no address (write a domain or an address like"),
        ("a", stream("return_path: '@c'"), "`@c` is no address"),
        ("a", stream("return_path: 'a b'"), "`a b` is no host name"),
        ("a", stream("weight: 0"), "must be at least 1, not `0`"),
        ("a", stream("weight: 1001"), "must be at most 1000"),
        ("b", "pools:\n  p: {sources: []}\n", "p.sources: must not be empty"),
        ("b", "pools:\n  p: {sources: [{name: s, address: here}]}\n", "`here` is no IP address"),
        ("c", route("stream: fast, when: {sender: '~('}"), "c.yaml:2:44: when.sender: the regular expression does not"),
        ("c", route("stream: fast, when: {sender: []}"), "when.sender: must not be empty"),
        ("c", route("stream: fast, when: {size: big}"), "`big` is not a size (write it like >1MB, <10k or 10k-1MB)"),
        ("c", route("stream: fast, when: {recipients: true}"), "`true` is not a number of recipients"),
        ("c", route("stream: fast, when: {recipients: '>x'}"), "`>x` is not a number of recipients"),
        ("c", route("stream: fast, when: {hour: 25}"), "`25` is no part of a day"),
        ("c", route("stream: fast, when: {hour: 9-9}"), "`9-9` is no part of a day"),
        ("c", route("stream: fast, when: {hour: noon}"), "`noon` is no part of a day"),
        ("c", route("stream: fast, when: {hour: true}"), "`true` is no part of a day"),
        ("c", route("stream: fast, when: {client: 10.0.0.1/8}"), "write 10.0.0.0/8"),
        ("c", route("stream: fast, when: {header: {'X Y': 1}}"), "is no header name"),
        ("c", route("stream: fast, when: {any: [{zender: x}]}"), "unknown key `zender` (did you mean `sender`?"),
        ("c", route("stream: fast, when: {not: {zender: x}}"), "unknown key `zender` (did you mean `sender`?"),
        ("c", route("stream: fast, tag: {c: '{campaign}'}"), "`{campaign}` is no place to fill in (there are {sender},"),
        ("c", route("stream: fast, tag: {c: '{header:}'}"), "`{header:}` does not name a header field"),
        ("c", route("stream: fast, tag: {c: 'a}'}"), "`a}` has a brace without its partner"),
        ("c", route("refuse: 'nö'"), "a refusal is at most 400 ASCII characters"),
        ("c", route("stream: fast, headers: {remove: Received}"), "Received may not be changed"),
        ("c", "routes:\n  - {stream: fast}\n", "`name` is missing in `routes[1]`"),
        # what does not fit together
        ("a", f"streams:\n  fast: {{pool: q, {RETRY}}}\n", "a.yaml:2:10: there is no pool `q` (allowed: p)"),
        ("a", "streams:\n  fast: {pool: p, retry: {after: [2h], then: 1h, expire: 1h}}\n",
         "mail would expire before it is tried a second time (make `expire` longer than the first wait"),
        ("a", stream("delay_notice: 24h"), "the delay notice would come after the bounce"),
        ("a", stream("dkim: [{domain: from, selector: a}, {domain: from, selector: a}]"),
         "a second signature with selector `a` (give each key its own selector)"),
        # named limits
        ("d", "limits:\n  few: {connections: 3}\nproviders:\n  rest: {mx: '*'}\n",
         "d.yaml:2:3: no provider and no pool names the limit `few` (name it: `limits: [few]` in a provider or pool, or remove it)"),
        ("d", "limits:\n  few: {}\nproviders:\n  rest: {mx: '*', limits: few}\n",
         "d.yaml:2:3: limit `few` limits nothing (give it connections, new_connections or messages)"),
        ("d", "limits:\n  few: {connections: 3}\nproviders:\n  rest: {mx: '*', limits: [fwe]}\n",
         "d.yaml:4:28: there is no limit `fwe` (did you mean `few`? allowed: few)"),
        ("b", "pools:\n  p: {sources: [{name: s}], limits: [none]}\n", "b.yaml:2:38: there is no limit `none` (there are none)"),
        ("d", "limits:\n  few: {connections: 3}\nproviders:\n  rest: {mx: '*', limits: [few, few]}\n",
         "d.yaml:4:33: the limit `few` is named twice (name it once)"),
        ("d", "limits:\n  few: {connections: 3}\nproviders:\n  rest: {mx: '*', limits: [few], per_source: {connections: 4}}\n",
         "d.yaml:4:47: `connections` for each source is more than the limit `few` gives to all together (lower it to at most that of `few`"),
        ("d", "limits:\n  slow: {messages: 1/s}\nproviders:\n  rest: {mx: '*', limits: [slow], per_source: {messages: 2/s}}\n",
         "`messages` for each source is more than the limit `slow` gives to all together"),
        ("a", f"streams:\n  fast: {{pool: p, {RETRY}, reserve: 60%}}\n  b: {{pool: p, {RETRY}, reserve: 60%}}\n",
         "a.yaml:3:61: the reserves sum to 120% (fast 60% + b 60%) (lower them to 100% in all)"),
        ("b", "pools:\n  p: {sources: [{name: s}, {name: s}]}\n", "a second source `s`"),
        ("b", "pools:\n  p: {sources: [{name: s, address: '::1'}]}\n", "::1 is not an IPv4 address"),
        ("b", "pools:\n  p: {sources: [{name: s, address6: 192.0.2.1}]}\n", "192.0.2.1 is not an IPv6 address"),
        ("c", route("stream: fsat, when: {hour: 9}"), "there is no stream `fsat` (did you mean `fast`? allowed: fast)"),
        ("c", route("when: {hour: 9}"), "route `r` says neither where its mail goes nor that it is refused"),
        ("c", route("when: {hour: 9}, stream: fast, refuse: x"), "says both where its mail goes and that it is"),
        ("c", route("when: {hour: 9}, hold: true, refuse: x"), "`hold` has no effect on mail that is refused"),
        ("c", route("when: {hour: 9}, stream: fast, headers: {add: {From: x}}"),
         "a message may have only one From (RFC 5322 §3.6) (list From in `remove:` too, to replace it)"),
        ("c", route("stream: fast"), "c.yaml:3:5: `rest` can never match: `r` (c.yaml:2) takes everything"),
        ("c", route("stream: fast, when: {}"), "an empty condition says nothing"),
        ("c", route("stream: fast, when: {any: [{hour: 1}, {}]}"), "an empty condition says nothing"),
        ("c", "routes:\n  - {name: r, when: {hour: 1}, stream: fast}\n  - {name: s, when: {hour: 1}, stream: fast}\n"
         "  - {name: rest, stream: fast}\n", "`s` can never match: `r` (c.yaml:2) has the same condition"),
        ("c", "routes:\n  - {name: r, when: {hour: 1}, stream: fast}\n",
         "the last route `r` must take everything (end with `- {name: everything else, stream: NAME}`)"),
        ("d", "providers:\n  a: {mx: '*.b.c'}\n", "the last provider `a` must take everyone"),
        ("d", "providers:\n  a: {mx: '*.c'}\n  b: {mx: '*.b.c'}\n  rest: {mx: '*'}\n",
         "d.yaml:3:7: no MX reaches `b`: `*.c` of `a` (d.yaml:2) takes them first"),
        ("d", "providers:\n  a: {mx: '*.c'}\n  b: {mx: [x, '*.b.c']}\n  rest: {mx: '*'}\n",
         "d.yaml:3:15: `*.b.c` is never reached: `*.c` of `a` (d.yaml:2) takes it first"),
        ("d", "providers:\n  rest: {mx: '*', per_source: {connections: 0}}\n", "must be at least 1"),
        ("x", "tests:\n  - {name: t, given: {}, expect: {}}\n", "a test that expects nothing shows nothing"),
        ("x", "tests:\n  - {name: t, given: {}, expect: {stream: fats}}\n", "there is no stream `fats` (did you mean"),
        ("x", "tests:\n  - {name: t, given: {client: x}, expect: {held: no}}\n", "`no` must be true or false"),
    ],
)  # fmt: skip
def test_told(file, text, says):
    found = complaints(**{file: text})
    assert any(says in complaint for complaint in found), found


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("{all: [{listener: a}, {listener: b}]}", "listener cannot be both a and b"),
        ("{listener: a, all: [{listener: b}, {hour: 1}]}", "listener cannot be both a and b"),
        ("{all: [{sender: x@y}, {sender: '*@z'}]}", "sender cannot be both x@y and *@z"),
        ("{all: [{client: 10.0.0.0/8}, {client: 192.0.2.0/24}]}", "client cannot be in both networks"),
        ("{all: [{hour: 9-12}, {hour: 13-17}]}", "hour cannot be both 9-12 and 13-17"),
        ("{all: [{size: '>1MB'}, {size: '<1k'}]}", "size cannot be both >1MB and <1k"),
        ("{size: 10k-1k}", "size cannot be 10k-1k"),
        ("{size: 10k-1k, hour: 1}", "size cannot be 10k-1k"),
        ("{all: [{header: {X: present}}, {header: {x: absent}}]}", "header X cannot be both present and absent"),
        ("{listener: a, not: {listener: a}}", "it asks for something and for its opposite"),
        ("{all: [{not: {listener: a}}, {listener: a}]}", "it asks for something and for its opposite"),
        ("{any: [{hour: 1}, {all: [{hour: 1}, {hour: 2}]}]}", "hour cannot be both 1 and 2"),
    ],
)
def test_never_true(when, says):
    [complaint] = complaints(c=route(f"stream: fast, when: {when}"))
    assert f"c.yaml:2:29: `r` can never match: {says} (correct it or remove it)" in complaint


@pytest.mark.parametrize(
    "when",
    [
        "{all: [{listener: a*}, {listener: '*b'}]}",
        "{all: [{listener: [a, b]}, {listener: b}]}",
        "{all: [{sender: '*@z'}, {sender: x@z}]}",
        "{all: [{recipient: a@x}, {recipient: b@x}]}",
        "{all: [{client: 10.0.0.0/8}, {client: 10.1.0.0/16}]}",
        "{all: [{hour: 9-12}, {hour: 11-17}]}",
        "{all: [{size: '>1k'}, {size: '<1MB'}]}",
        "{all: [{size: '>1k'}, {recipients: '<5'}]}",
        "{all: [{header: {X: present}}, {header: {Y: absent}}]}",
        "{not: {listener: a}}",
        "{any: [{hour: 1}, {hour: 2}]}",
    ],
)
def test_may_be_true(when):
    assert complaints(c=route(f"stream: fast, when: {when}")) == []


def test_names_that_do_not_exist():
    text = route("stream: fast, when: {any: [{listener: aps}, {not: {credential: [shop, 'x*']}}]}")
    assert complaints(c=text, listeners=frozenset({"apps"}), credentials=frozenset({"shop"})) == [
        "c.yaml:2:53: no listener is called `aps` (did you mean `apps`? allowed: apps)",
        "c.yaml:2:85: no credential is called `x*` (allowed: shop)",
    ]
    assert complaints(c=text) == []
    [one, other] = complaints(c=text, credentials=frozenset())
    assert "no credential is called `shop` (there are none)" in one
    assert "no credential is called `x*`" in other


def test_a_mistake_inside_does_not_make_others():
    found = complaints(
        a="streams:\n  fast: {pool: p, retry: 5}\n",
        b="pools:\n  p: {source: []}\n",
        c=route("stream: fsat, when: {hour: 25}"),
        d="providers:\n  163: {mx: '*.netease.com', zzz: 1}\n  rest: {mx: '*'}\n",
    )
    assert len(found) == 5  # one each, and both in pools: `source` unknown, `sources` missing


def test_where_some_file_could_not_be_read_nothing_is_called_missing():
    policy, problems = build_policy({"c.yaml": load(GOOD["c.yaml"], "c.yaml")[0]}, partial=True)
    assert (policy, problems) == (None, [])


def test_key_files_lie_beside_the_policies():
    texts = GOOD | {"a.yaml": stream("dkim: [{domain: x.com, selector: s, key: {file: keys/x.pem}}], delay_notice: 4h")}
    policy, _ = build_policy({name: load(text, name)[0] for name, text in texts.items()}, folder="/etc/p")
    assert policy.streams["fast"].signings[0].key == "/etc/p/keys/x.pem"
    assert policy.streams["fast"].delay_notice_s == 14400


def results(expect, given="{}"):
    texts = GOOD | {
        "c.yaml": "routes:\n  - {name: no, when: {sender: x@y}, refuse: go}\n  - {name: rest, stream: fast, tag: {l: '{listener}'}}\n",
        "t.yaml": f"tests:\n  - {{name: t, given: {given}, expect: {expect}}}\n",
    }  # fmt: skip
    policy, problems = build_policy({name: load(text, name)[0] for name, text in texts.items()})
    assert problems == []
    [result] = run_examples(policy)
    assert (result.name, result.where) == ("t", "t.yaml:2")
    return result


@pytest.mark.parametrize(
    ("expect", "given", "differences"),
    [
        ("{route: rest, stream: fast, refused: false, held: false, tags: {}}", "{}", ()),
        ("{tags: {l: apps}}", "{listener: apps, subject: Hi, headers: {X: y}, recipients: a@b}", ()),
        ("{tags: {l: x}, held: true}", "{}", ("tags: expected l=x, got none", "held: expected yes, got no")),
        ("{stream: fast, route: rest}", "{sender: x@y}",
         ("route: expected `rest`, got `no`", "stream: expected `fast`, got none")),
        ("{refused: true}", "{sender: x@y}", ()),
        ("{refused: true}", "{sender: '<>'}", ("refused: expected yes, got no",)),
    ],
)  # fmt: skip
def test_the_policys_own_tests(expect, given, differences):
    result = results(expect, given)
    assert sorted(result.differences) == sorted(differences)
    assert result.passed is (not differences)
    assert bool(result.trail) is bool(differences)


WORDS = ["streams", "pools", "routes", "providers", "tests", "name", "when", "any", "all", "not", "pool", "retry",
         "sources", "mx", "stream", "given", "expect", "sender", "header", "hour", "size", "dkim", "headers", "add"]  # fmt: skip
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=6),
                   st.sampled_from(["~(", "*", "{x}", ">1", "9-17", "10.0.0.0/33", "1m", "fast"]))  # fmt: skip
TREES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(WORDS[:5]), TREES, max_size=5))
def test_nothing_that_is_written_raises(tree):
    node, problems = load(json.dumps(tree), "x.yaml")
    policy, more = build_policy({"x.yaml": node} if node else {}, listeners=frozenset(), credentials=frozenset())
    assert policy is None
    assert all(str(problem) for problem in problems + more)
