"""EHLO answers."""

import pytest

from relay.core.reply import Reply
from relay.smtp.capabilities import NONE, Capabilities, parse


def said(*lines):
    return parse(Reply(250, "", ("mx.example.net hello", *lines)))


def test_everything_a_server_may_announce():
    lines = ("PIPELINING", "SIZE 35882577", "8BITMIME", "smtputf8", "STARTTLS", "DSN", "AUTH PLAIN login",
             "AUTH=CRAM-MD5", "ENHANCEDSTATUSCODES", "CHUNKING", "REQUIRETLS", "X-NEW thing")
    assert said(*lines) == Capabilities(
        pipelining=True, size=True, size_limit=35882577, eight_bit=True, utf8=True, starttls=True, dsn=True,
        enhanced=True, requiretls=True, auth=frozenset({"PLAIN", "LOGIN", "CRAM-MD5"}))


def test_the_first_line_is_a_name_and_no_capability():
    assert parse(Reply(250, "", ("PIPELINING",))) == NONE


@pytest.mark.parametrize("line", ["SIZE", "SIZE 0", "SIZE many", "SIZE -1", "SIZE ²", "SIZE " + "9" * 5000])
def test_a_size_without_a_number_is_no_limit(line):
    assert said(line) == Capabilities(size=True)
