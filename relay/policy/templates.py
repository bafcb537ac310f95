"""Texts with places to fill in: `{header:X-Campaign}`, `{sender}`, `{credential}` ..."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from relay.core.headers import decode_words
from relay.policy.facts import Facts

PLACE = re.compile(r"\{([^{}]*)\}")
CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")
MAX_VALUE_CHARACTERS = 200  # tags become labels of reports and lines of a log
HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 §3.6.8: printable ASCII but the colon

Fill = Callable[[Facts], str]


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


PLACES: dict[str, Fill] = {
    "sender": lambda facts: facts.sender,
    "sender_domain": lambda facts: _domain(facts.sender),
    "recipient": lambda facts: facts.recipients[0] if facts.recipients else "",
    "recipient_domain": lambda facts: _domain(facts.recipients[0]) if facts.recipients else "",
    "credential": lambda facts: facts.credential,
    "listener": lambda facts: facts.listener,
    "client": lambda facts: facts.client,
}


@dataclass(frozen=True, slots=True)
class Template:
    """A text whose places are filled from the facts of a message; `text` is what was written."""

    text: str
    pieces: tuple[str | Fill, ...]

    def render(self, facts: Facts) -> str:
        """The text with every place filled: one line, no control characters, at most 200 characters."""
        filled = "".join([piece if isinstance(piece, str) else piece(facts) for piece in self.pieces])
        return _clean(filled) if filled else ""


def compile_template(text: str) -> Template:
    """The template for `text`; raises ValueError naming the place that does not exist."""
    pieces: list[str | Fill] = []
    for number, piece in enumerate(PLACE.split(text)):
        if number % 2:
            pieces.append(_place(piece))
        elif "{" in piece or "}" in piece:
            raise ValueError(f"`{text}` has a brace without its partner")
        elif piece:
            pieces.append(piece)
    return Template(text, tuple(pieces))


def _place(name: str) -> Fill:
    kind, colon, header = name.partition(":")
    if kind == "header" and colon:
        if not HEADER_NAME.fullmatch(header):
            raise ValueError(f"`{{{name}}}` does not name a header field")
        return lambda facts: facts.headers.first(header) or ""
    if name not in PLACES:
        allowed = ", ".join(f"{{{place}}}" for place in PLACES)
        raise ValueError(f"`{{{name}}}` is no place to fill in; there are {allowed}, {{header:NAME}}")
    return PLACES[name]


def _clean(value: str) -> str:
    """What may stand in a tag, a log line or a header: strangers wrote parts of it."""
    if not value.isascii():
        value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    value = decode_words(value)
    return CONTROL.sub(" ", value).strip()[:MAX_VALUE_CHARACTERS]
