"""Strict YAML: what people regret is refused, each with its place, and nothing raises."""


import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.policy.strict import MAX_CHARACTERS, Node, Problem, load, scalar


def read(text):
    node, problems = load(text, "x.yaml")
    assert problems == []
    return node.plain()


def complaints(text):
    return [str(problem) for problem in load(text, "x.yaml")[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("y", "y"), ("true", True), ("False", False), ("~", None), ("", None),
        ("null", None), ("012", "012"), ("-012", "-012"), ("0o14", 12), ("0x1F", 31), ("12:30", "12:30"),
        ("1_000", "1_000"), ("17", 17), ("-3", -3), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5),
        ("1e999", "1e999"), (".inf", ".inf"), ("2026-11-01", "2026-11-01"), ("9" * 30, "9" * 30), ("0", 0),
        ("0.5", 0.5), ("00", "00"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_quoted_is_always_text():
    assert read("""{a: "true", b: '12', c: "~"}""") == {"a": "true", "b": "12", "c": "~"}


def test_keys_are_always_text():
    assert read("163: a\ntrue: b\n") == {"163": "a", "true": "b"}


def test_block_text_and_lists():
    assert read("a:\n - x\n - {b: 1}\nc: |\n  two\n  lines\n") == {"a": ["x", {"b": 1}], "c": "two\nlines\n"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3:1: `a` is set twice, first on line 1 (keep one of them)"),
        ("a: &x {b: 1}\nc: *x\n", "x.yaml:2:4: `*x` is an alias"),
        ("a: &x 1\nb: {<<: *x}\n", "merge keys (`<<`) are not supported"),
        ("a: !!python/object:os.system x\n", "x.yaml:1:4: the tag `tag:yaml.org,2002:python/object:os.system`"),
        ("a: !x [1]\n", "the tag `!x` is not supported"),
        ("a: ! x\n", "the tag `!` is not supported"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: a second document begins here"),
        ("{[1]: 2}\n", "x.yaml:1:2: a key must be one word"),
        ("{\"\": 2}\n", "a key is missing before `:`"),
        ("a:\n\tb: 1\n", "x.yaml:2:1: not YAML: while scanning for the next token, found character that cannot"),
        ("a: *@example.com\n", 'needs quotes: "*@example.com"'),
        ("a: [1\nb: 2\n", "x.yaml:2:"),
        ("a: b: c\n", "x.yaml:1:5: not YAML"),
        ("a: \x00\n", "x.yaml:1:4: the character U+0000 may not stand in YAML (save the file as UTF-8 text)"),
        ("é: 1\na: \x07\n", "x.yaml:2:4: the character U+0007"),
        ("a: \ud800\n", "x.yaml:1:4: the character U+D800"),
        ("a: " + "[" * 40 + "]" * 40, "nested more than 32 levels"),
        ("{" * 40 + "a: 1" + "}" * 40, "nested more than 32 levels"),
        ("x" * (MAX_CHARACTERS + 1), "x.yaml:1:1: the file is too large"),
        ("%YAML 9.9\n---\na: 1\n", "x.yaml:1:"),
    ],
)  # fmt: skip
def test_refused(text, says):
    assert any(says in complaint for complaint in complaints(text)), complaints(text)


def test_every_problem_is_told_at_once():
    assert len(complaints("a: 1\na: 2\nb: &x 1\nc: *x\nd: {<<: *x}\n")) == 4


def test_a_merge_bomb_is_no_work():
    levels = "".join(f"l{n}: &l{n} {{{', '.join(f'k{k}: *l{n - 1}' for k in range(9))}}}\n" for n in range(1, 9))
    node, problems = load("l0: &l0 {a: 1}\n" + levels, "x.yaml")
    assert len(problems) == 72
    assert node is not None


@pytest.mark.timeout(20)  # libyaml alone needs minutes for these
@pytest.mark.parametrize("piece", ["[", "{", "- ", "[1,", "{a: ", "? "])
def test_depth_ends_the_reading(piece):
    node, problems = load(piece * (MAX_CHARACTERS // len(piece)), "x.yaml")
    assert node is None
    assert len(problems) == 1


def test_a_hundred_problems_are_enough():
    node, problems = load("- *x\n" * 1000, "x.yaml")
    assert (node, len(problems)) == (None, 100)


def test_empty_files():
    assert load("", "x.yaml") == (None, [])
    assert load("# only words\n", "x.yaml") == (None, [])
    assert load("---\n", "x.yaml") == (None, [])


def test_a_byte_order_mark_is_passed_over():
    assert read("\ufeffa: 1\n") == {"a": 1}


def test_places():
    node, _ = load("a:\n  b: [1, 2]\nc: x\n", "x.yaml")
    assert node.place() == (1, 1)
    assert node.place("a") == (1, 1)
    assert node.place("a", "b") == (2, 3)
    assert node.place("a", "b", 1) == (2, 10)
    assert node.place("a", "missing") == (2, 3)
    assert node.place("c", "d") == (3, 4)
    assert node.at("a", "b", 7).plain() == [1, 2]
    assert node.get(0) is None
    assert Node(1, 1, 1).get("a") is None


def test_a_problem_without_a_line_names_the_file_only():
    assert str(Problem("x.yaml", 0, 0, "there is no such file")) == "x.yaml: there is no such file"


@settings(max_examples=300)
@given(st.text())
def test_no_text_raises(text):
    node, problems = load(text, "x.yaml")
    assert node is None or isinstance(node, Node)
    assert all(problem.line >= 1 and problem.message for problem in problems)


YAMLISH = st.lists(
    st.sampled_from(["a", "b: ", "- ", "\n", "  ", "{", "}", "[", "]", ",", "&x ", "*x", "<<: ", "!t ", '"', "'",
                     "|\n", ": ", "? ", "#", "---\n", "...\n", "\t", "%", "\u2028", "\x85", "1", "~"]),
    max_size=30,
)  # fmt: skip


@settings(max_examples=500)
@given(YAMLISH)
def test_nothing_like_yaml_raises(parts):
    text = "".join(parts)
    node, problems = load(text, "x.yaml")
    assert node is None or node.plain() is not None
    assert all(isinstance(problem, Problem) for problem in problems)
