"""Invariant: patterns, templates and return paths of any text are compiled or refused by ValueError, and never hang."""

from __future__ import annotations

from relay.core.headers import Headers
from relay.core.pattern import compile_pattern
from relay.core.tokens import decode
from relay.policy.facts import Facts
from relay.policy.templates import compile_template
from tests.fuzz.cutting import texts

SEEDS = [b"*@*.example.com\xffann@x.example.com", b"~^a+b?$\xffaab", b"~(a|b)*c\xff" + b"ab" * 50, b"{header:X-A}-{sender}\xffx", b"{\xff}",
         b"~(?i)x\xffX", b"[a-z]*\xffb", b"b-01jbjw3k5v00000000a-0-0123456789abcdef\xff"]  # fmt: skip


def target(data: bytes) -> None:
    pattern, text = texts(data[:2000], 2)
    try:
        compile_pattern(pattern).matches(text)
    except ValueError as error:
        assert str(error)
    facts = Facts("apps", "10.0.0.1", "", text, (text,), Headers.parse(b"X-A: b\r\n"), 1, 0)
    try:
        filled = compile_template(pattern).render(facts)
    except ValueError as error:
        assert str(error)
    else:
        assert len(filled) <= 200
        assert "\n" not in filled
        assert "\r" not in filled
    decode(pattern, [b"k" * 32])
