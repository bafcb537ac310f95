"""Patterns: globs and regular expressions, and that neither can be made to run for long."""
# ruff: noqa: E501 - tables of messages as people see them

import re
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.pattern import READ_CHARACTERS, compile_pattern, covers


@pytest.mark.parametrize(
    ("text", "value", "matched"),
    [
        ("login@example.com", "Login@Example.COM", True),
        ("login@example.com", "xlogin@example.com", False),
        ("*@news.example.com", "a@NEWS.example.com", True),
        ("*@news.example.com", "a@news.example.com.evil.test", False),
        ("shop-*", "shop-7", True),
        ("shop-*", "my-shop-7", False),
        ("*code*", "Your CODE is 1", True),
        ("*code*", "nothing", False),
        ("*", "", True),
        ("**", "anything\nat all", True),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "aXcYb", False),
        ("a*bc*bc", "abcbc", True),
        ("a*bc*bc", "abc", False),
        ("gmail-?", "gmail-7", True),
        ("gmail-?", "gmail-77", False),
        ("?*@x", "@x", False),
        ("*.mx?.example", "a.mx1.example", True),
        ("[v6]", "[V6]", True),
        ("a.c", "abc", False),
        ("<>", "<>", True),
        ("~^(Order|Receipt)", "order 17", True),
        ("~^(Order|Receipt)", "Your order", False),
        ("~code", "Your CODE", True),
        (r"~^\d{6}$", "123456", True),
        (r"~^(a|b){1,3}$", "aba", True),
    ],
)
def test_matches(text, value, matched):
    assert compile_pattern(text).matches(value) is matched


def test_says_what_it_is():
    assert compile_pattern("~x").is_regex
    assert compile_pattern("a@b").is_literal
    assert not compile_pattern("a?b").is_literal
    assert not compile_pattern("~x").is_literal
    assert str(compile_pattern("*@x")) == "*@x"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("~", "no regular expression after"),
        ("~(", "does not compile: missing"),
        ("~[[a]", "does not compile: Possible nested set"),
        ("~a{99999999999999999999}", "does not compile"),
        ("~" + "(" * 5000 + ")" * 5000, "does not compile"),
        ("~(a+)+$", "repeats what can itself be matched in several ways"),
        ("~(a?)*", "repeats what can itself be matched in several ways"),
        ("~(x(a*)y)*", "repeats what can itself be matched in several ways"),
        ("~(a|ab)*$", "repeats what can itself be matched in several ways"),
        ("~(?:(?=a*)b)+", "repeats what can itself be matched in several ways"),
        ("~((a|ab){16}){16}", "repeats what can itself be matched in several ways"),
        ("~" + "a?" * 20 + "a" * 20, "too many repeats and choices"),
        ("~.*.*.*x", "too many repeats and choices"),
        ("~^a+b+c+d+$", "too many repeats and choices"),
        ("~(?:ab){2}+", "which Python before 3.11.5 matches wrongly"),
        ("~(a)?+b", "which Python before 3.11.5 matches wrongly"),
    ],
)
def test_refuses_what_could_run_for_ever(text, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        compile_pattern(text)


@pytest.mark.parametrize("text", [r"~^Order \d+ from .* at .*$", "~(foo|ba*r)", "~(ab){2,5}", "~^(a)(?(1)b|c)", "~x++", r"~(\d{1,3}\.){3}\d{1,3}", "~([0-9a-f]{4}:){7}"])
def test_takes_what_people_write(text):
    compile_pattern(text)


def test_reads_a_bounded_part_of_the_value():
    pattern = compile_pattern("~^a.*b.*c$")
    assert READ_CHARACTERS[2] == 2000
    assert not pattern.matches("a" + "b" * 3000 + "c")
    assert compile_pattern("~^a").matches("a" * 10**6)


PIECES = st.text(alphabet="ab*?.", max_size=8)


@given(PIECES, st.text(alphabet="ab.x", max_size=12))
def test_globs_are_those_of_the_shell(text, value):
    assert compile_pattern(text).matches(value) is bool(re.match(translate(text), value))


@pytest.mark.parametrize(
    ("wide", "narrow", "is_covered"),
    [
        ("*", "*.google.com", True),
        ("*", "~google", True),
        ("*.google.com", "*.aspmx.l.google.com", True),
        ("*.google.com", "*.GOOGLE.com", True),
        ("*.l.google.com", "*.google.com", False),
        ("mx?.example", "mx1.example", True),
        ("mx?.example", "mx??.example", False),
        ("mx?.example", "mx?.example", True),
        ("?*.example", "*.example", False),
        ("a?c", "a*c", False),
        ("~google", "*.google.com", False),
        ("~x", "~x", True),
        ("~x", "~y", False),
    ],
)
def test_covers(wide, narrow, is_covered):
    assert covers(compile_pattern(wide), compile_pattern(narrow)) is is_covered


@given(PIECES, PIECES, st.text(alphabet="ab.x", max_size=10))
def test_what_is_covered_is_matched(wide, narrow, value):
    one, other = compile_pattern(wide), compile_pattern(narrow)
    if covers(one, other) and other.matches(value):
        assert one.matches(value)


@pytest.mark.parametrize("text", ["~a++b", "~[ab]*+c", "~.?+c", "~[^ac]{2,3}+c"])
def test_a_possessive_repeat_of_one_character_is_taken(text):
    assert compile_pattern(text).matches("abbc")
