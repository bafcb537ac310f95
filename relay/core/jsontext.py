"""JSON as text, for what is written for every message: an encoder that is made once.

`json.JSONEncoder.encode` makes the interpreter's C encoder anew for each value, which for a small one takes longer
than the encoding. Kept, it gives the very same text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder


def json_encoder(*, ascii_only: bool = True, nan: bool = True) -> Callable[[object], str]:
    """A function from values to compact JSON, with other characters than ASCII escaped if `ascii_only`. It raises
    TypeError for what has no JSON form, ValueError for a number that is none unless `nan`. Values must not
    contain themselves."""
    plain = json.JSONEncoder(
        ensure_ascii=ascii_only, check_circular=False, allow_nan=nan, separators=(",", ":")
    )
    make = getattr(encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without it
        return plain.encode
    texts = encoder.encode_basestring_ascii if ascii_only else encoder.encode_basestring
    kept = make(None, plain.default, texts, None, ":", ",", False, False, nan)
    return lambda value: "".join(kept(value, 0))
