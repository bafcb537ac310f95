"""Invariant: a body of the control API is a filter that reads back the same and can be stored, or a BadFilter; a query
never matches more than it says."""

from __future__ import annotations

import json

from relay.queue.store import Filter
from relay.web.filters import BadFilter, filter_fields, parse_filter

SEEDS = [
    json.dumps(one).encode()
    for one in ({}, {"stream": "a"}, {"tag": "campaign=a*"}, {"state": "held"}, {"older_than_s": 5}, {"older_than_s": "1e9"},
                {"older_than_s": 10**400}, {"message": "\ud800"}, {"strem": 1}, {"younger_than_s": True}, {"domain": None})
]  # fmt: skip


def target(data: bytes) -> None:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(body, dict):
        return
    try:
        which = parse_filter(body)
    except BadFilter as error:
        assert str(error)
        return
    assert (which == Filter()) == (not body)
    assert parse_filter(filter_fields(which)) == which
    for text in filter_fields(which).values():
        text.encode()
