"""JSON of an encoder that is kept: the same text as that of the standard library."""

import json
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.jsontext import json_encoder


class Kind(StrEnum):
    OTHER = "other"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_the_same_text(value, ascii_only):
    wanted = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))
    assert json_encoder(ascii_only=ascii_only)(value) == wanted


def test_tuples_names_and_lone_surrogates():
    value = {"a": (1, Kind.OTHER), "b\ud800": "ö\n", 3: 0.1}
    assert json_encoder()(value) == json.dumps(value, separators=(",", ":"))
    assert json_encoder(ascii_only=False)("ö\udcff") == '"ö\udcff"'


def test_what_is_no_json():
    encode = json_encoder(nan=False)
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode([float("nan")])
    with pytest.raises(TypeError, match="not JSON serializable"):
        encode([b"bytes"])


def test_an_interpreter_without_the_c_encoder(monkeypatch):
    monkeypatch.setattr("json.encoder.c_make_encoder", None)
    assert json_encoder()({"a": [1.5, None]}) == '{"a":[1.5,null]}'
