"""What the command that imports says of a message: understood whole, or refused with the name of what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.envelope import Recipient
from relay.service.importing import _given, _listener
from relay.web.filters import BadFilter

HEAD = {
    "origin": "postfix 4ABC 1772366400 0", "arrived_at": 1772366400.5, "sender": "a@shop.test",
    "recipients": [["b@site.test", ["FAILURE"], "rfc822;b@site.test"]], "body": "8BITMIME", "utf8": False,
    "ret": "HDRS", "envid": "x", "client": "192.0.2.1", "helo": "app", "user": "shop", "held": True, "trial": False,
}  # fmt: skip


def test_a_head_is_understood():
    found = _given(HEAD, frozenset({"shop"}))
    assert (found.credential, found.held, found.trial, found.arrived_at) == ("shop", True, False, 1772366400.5)
    assert found.envelope.recipients == (Recipient("b@site.test", frozenset({"FAILURE"}), "rfc822;b@site.test"),)
    assert _given({**HEAD, "sender": ""}, frozenset()).envelope.sender == ""


def test_an_account_the_relay_does_not_have_is_none():
    assert _given(HEAD, frozenset()).credential == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"origin": 1}, "origin"), ({"held": 1}, "held"), ({"arrived_at": float("nan")}, "arrived_at"),
        ({"arrived_at": True}, "arrived_at"), ({"recipients": []}, "a recipient"), ({"recipients": ["x"]}, "recipient"),
        ({"recipients": [["x@y.test", ["OFTEN"], ""]]}, "NOTIFY words"),
        ({"recipients": [["nobody", [], ""]]}, "no address"), ({"arrived_at": 10**400}, "arrived_at"),
        ({"recipients": [["x@y.test", [], "rfc822;x\r\nDATA"]]}, "parameter"), ({"envid": "a b"}, "parameter"),
        ({"ret": "ALL"}, "ret is one of"), ({"body": "BINARYMIME"}, "body is one of"),
        ({"recipients": [["", [], ""]]}, "recipient"), ({"sender": "a\r\nb@c.test"}, "no address"),
        ({"recipients": [["x@y.test", [["a"]], ""]]}, "recipient"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(change, said):
    with pytest.raises(BadFilter, match=said):
        _given({**HEAD, **change}, frozenset())


def test_the_listener_must_be_known_and_named_where_there_are_several():
    assert _listener({"listener": ""}, ["apps"]) == "apps"
    assert _listener({"listener": "b"}, ["a", "b"]) == "b"
    with pytest.raises(BadFilter, match="--listener a or b"):
        _listener({}, ["a", "b"])
    with pytest.raises(BadFilter, match="no listener c"):
        _listener({"listener": "c"}, ["a", "b"])


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
                      lambda inner: st.lists(inner, max_size=4), max_leaves=6)  # fmt: skip


@given(changed=st.dictionaries(st.sampled_from(sorted(HEAD)), VALUES, max_size=3))
def test_no_head_crashes_it(changed):
    try:
        found = _given({**HEAD, **changed}, frozenset({"shop"}))
    except BadFilter:
        return
    assert all("\n" not in one.address for one in found.envelope.recipients)
    words = [found.envelope.envid, *(one.orcpt for one in found.envelope.recipients)]
    assert all(" " not in word and word.isprintable() for word in words)
