"""What commands print."""

import json

import pytest

from relay.cli.output import ago, clean, moment, plain_table, show_json, show_table, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"), (0.42, "0.4s"), (12, "12s"), (60, "1m"), (61, "1m 1s"), (3599, "59m 59s"), (3600, "1h"),
        (11520, "3h 12m"), (86400, "1d"), (187200, "2d 4h"),
    ],
)  # fmt: skip
def test_span(seconds, text):
    assert span(seconds) == text


def test_ago():
    assert ago(1000.0, now=1090.0) == "1m 30s"
    assert ago(1090.0, now=1000.0) == "in 1m 30s"


def test_moment_is_utc():
    assert moment(1772366400.0) == "2026-03-01 12:00:00Z"


def test_table_is_aligned_without_trailing_space():
    text = plain_table(("id", "state"), [("06a", "queued"), ("06abcdef", "held")])
    assert text == "ID        STATE\n06a       queued\n06abcdef  held"


def test_remote_text_cannot_drive_the_terminal():
    assert clean("550 \x1b[31mno\x1b[0m\r\nEvil: x\x9b") == "550 ?[31mno?[0m??Evil: x?"


def test_broken_characters_can_be_printed():
    assert clean("caf\udce9") == "caf?"
    clean("caf\udce9").encode("utf-8")


def test_an_empty_table_says_so(capsys):
    show_table(("id",), [], empty="nothing in the queue matches")
    assert capsys.readouterr().out == "nothing in the queue matches\n"


def test_json_keeps_characters(capsys):
    show_json({"subject": "Grüße"})
    out = capsys.readouterr().out
    assert "Grüße" in out
    assert json.loads(out) == {"subject": "Grüße"}
