"""Filters, as programs and people write them."""

import pytest

from relay.queue.store import Filter
from relay.web.filters import BadFilter, filter_fields, parse_filter


def test_nothing_means_everything():
    assert parse_filter({}) == Filter()


def test_every_name_is_understood():
    given = {
        "message": "06ab", "stream": "marketing", "domain": "*.example", "sender": "news@*", "recipient": "a@*",
        "tag": "campaign=spring=2026*", "state": "held", "older_than_s": "3600", "younger_than_s": 86400,
    }  # fmt: skip
    which = parse_filter(given)
    assert which == Filter(
        "06ab",
        "marketing",
        "*.example",
        "news@*",
        "a@*",
        ("campaign", "spring=2026*"),
        "held",
        3600.0,
        86400.0,
    )


def test_what_is_written_reads_back():
    which = Filter(stream="shop", tag=("campaign", "a*"), state="queued", older_than_s=60.0)
    assert parse_filter(filter_fields(which)) == which


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"strem": "x"}, "no filter is called 'strem' (did you mean 'stream'?)"),
        ({"state": "hold"}, "did you mean 'held'?"),
        ({"state": "gone"}, "there are: queued, held"),
        ({"tag": "campaign"}, "NAME=GLOB"),
        ({"tag": "=x"}, "NAME=GLOB"),
        ({"stream": ""}, "not empty"),
        ({"stream": 7}, "wants a text"),
        ({"domain": "a\r\nb"}, "no control characters"),
        ({"sender": "x" * 1001}, "at most 1000"),
        ({"older_than_s": "1h"}, "number of seconds"),
        ({"older_than_s": -1}, "number of seconds"),
        ({"older_than_s": "nan"}, "number of seconds"),
        ({"older_than_s": "inf"}, "number of seconds"),
        ({"younger_than_s": True}, "number of seconds"),
        ({"younger_than_s": None}, "number of seconds"),
    ],
)
def test_what_is_wrong_is_said(given, said):
    with pytest.raises(BadFilter) as error:
        parse_filter(given)
    assert said in str(error.value)
