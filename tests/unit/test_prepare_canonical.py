"""Relaxed canonicalisation: as RFC 6376 §3.4 has it, as dkimpy has it, and never slower than linear."""

import time
from hashlib import sha256
from itertools import pairwise

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from relay.core.headers import Headers
from relay.prepare.canonical import (
    end_of_text,
    relaxed_body,
    relaxed_body_hash,
    relaxed_fields,
    relaxed_header,
    whole_lines,
)


def body(*chunks: bytes) -> bytes:
    return b"".join(relaxed_body(chunks))


def test_the_example_of_the_standard():  # RFC 6376 §3.4.5
    assert relaxed_header(b"A: X\r\n") + relaxed_header(b"B : Y\t\r\n\tZ  \r\n") == b"a:X\r\nb:Y Z\r\n"
    assert body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C\r\nD E\r\n"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"\r\n\r\n\r\n", b""),
        (b" \r\n\t\r\n", b""),
        (b"a", b"a\r\n"),
        (b"a \t", b"a\r\n"),
        (b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
        (b"a\r\n \r\n\t\r\n", b"a\r\n"),
        (b"a\r\n \r\nb\r\n", b"a\r\n\r\nb\r\n"),
        (b"\t a\t\tb \r\n", b" a b\r\n"),
        (b"a\x0bb\r\n", b"a\x0bb\r\n"),
        (b"x" + b" " * 5000 + b"y\r\n", b"x y\r\n"),
    ],
)
def test_bodies(text, canonical):
    assert body(text) == canonical


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"Subject:\r\n", b"subject:\r\n"),
        (b"SUBJECT : a\r\n \r\n\tb \r\n", b"subject:a b\r\n"),
        (b"X: a\x0bb \x0c\r\n c\r\n", b"x:a\x0bb \x0c c\r\n"),  # neither is WSP (RFC 5234)
        (b"From: J\xc3\xb6rg  <a@b>\r\n", b"from:J\xc3\xb6rg <a@b>\r\n"),
    ],
)
def test_headers(raw, canonical):
    assert relaxed_header(raw) == canonical
    others = b"Date: a\r\n  b\r\n"
    assert relaxed_fields(Headers.parse(raw + others).fields) == canonical + b"date:a b\r\n"


@pytest.mark.parametrize("length", range(1, 40))
def test_a_run_of_spaces_is_one(length):
    assert body(b"a" + b" " * length + b"b" + b" " * length + b"\r\n") == b"a b\r\n"


def test_bare_line_ends_are_text():  # no listener lets them in; if one does, nothing may be lost
    assert end_of_text(b"a\r\n\n\r\n") == 4
    assert end_of_text(b"a\r\n\r\r\n\r\n") == 4


def test_no_line_is_cut():
    assert list(whole_lines([b"a\r", b"\nb", b"c", b"\r\nd\r\n", b"", b"e"])) == [
        b"a\r\nbc\r\nd\r\n",
        b"e\r\n",
    ]
    assert list(whole_lines([b"a\r", b"\n"])) == [b"a\r\n"]


def test_any_number_of_signatures_share_the_hash_of_the_body():
    assert relaxed_body_hash([b"a ", b" b\r\n\r\n"]) == sha256(b"a b\r\n").digest()


LINES = st.lists(st.text(" \t\x0bab.é", max_size=12), max_size=12).map(
    lambda lines: "\r\n".join(lines).encode()
)


@given(LINES, st.sampled_from([b"\r\n", b"\r\n\r\n", b" \r\n", b"\r\n\t\r\n"]))
def test_bodies_as_dkimpy_has_them(lines, end):
    assert body(lines + end) == Relaxed.canonicalize_body(lines + end)


@given(LINES, st.lists(st.integers(0, 140), max_size=4))
def test_how_it_is_cut_into_chunks_does_not_matter(text, cuts):
    places = [0, *sorted(cuts), len(text)]
    chunks = [text[a:b] for a, b in pairwise(places)]
    assert body(*chunks) == body(text)


# without \x0b and \x0c, which dkimpy strips at the ends though they are no WSP
FOLDED = st.lists(st.text(" \tab:é", max_size=10), min_size=1, max_size=4)


@given(st.sampled_from(["From", "X-y", "SUBJECT"]), FOLDED)
def test_headers_as_dkimpy_has_them(name, parts):
    value = (" " + "\r\n ".join(parts) + "\r\n").encode()
    [(theirs_name, theirs)] = Relaxed.canonicalize_headers([(name.encode(), value)])
    assert relaxed_header(name.encode() + b":" + value) == theirs_name + b":" + theirs


def seconds(text: bytes) -> float:
    best = 9.0
    for _ in range(3):
        before = time.process_time()
        for _ in relaxed_body([text]):
            pass
        best = min(best, time.process_time() - before)
    return best


@pytest.mark.parametrize(
    "line",
    [b"x" + b" " * 997, b" " * 998, b"x " * 499, b"x  " * 332, b"\t" * 998, b" \t" * 499, b""],
    ids=["run", "blank", "single", "double", "tabs", "mixed", "empty"],
)
def test_a_megabyte_of_space_costs_about_what_text_costs(line):
    """dkimpy needs 1.4 s for the first of these; text takes 1 ms here, and so each may take 40 times that."""
    unit = line + b"\r\n"
    plain = seconds((b"x" * 76 + b"\r\n") * 12_800)
    assert seconds(unit * (1_000_000 // len(unit))) < max(40 * plain, 0.04)
