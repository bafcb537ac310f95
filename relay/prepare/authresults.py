"""Forged Authentication-Results: a field that claims to be ours may not stay (RFC 8601 §5).

authres reads the fields, bounded: 5,000 opening parentheses exhaust its recursion. A field that names us
and cannot be read is taken for a forgery; one that does not even contain our name cannot claim it.
"""

from __future__ import annotations

import authres  # type: ignore[import-untyped,unused-ignore]

from relay.core.headers import Field

NAME = b"authentication-results"
MAX_VALUE_CHARS = 4000  # a real one with ten methods has 1,500
MAX_PARENTHESES = 50


def claims_to_be(field: Field, authserv_id: str) -> bool:
    """Whether this Authentication-Results field speaks, or may speak, in the name of `authserv_id`."""
    value = field.value
    wanted = authserv_id.lower()
    if wanted not in value.replace("\\", "").lower():  # quoted-pairs could hide it
        return False
    if len(value) > MAX_VALUE_CHARS or value.count("(") > MAX_PARENTHESES:
        return True
    try:
        claimed = authres.AuthenticationResultsHeader.parse_value(value).authserv_id
    except (authres.AuthResError, ValueError, IndexError, AttributeError, TypeError):
        return True
    return not isinstance(claimed, str) or claimed.lower() == wanted
