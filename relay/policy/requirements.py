"""The names `require:` knows; what they mean is in relay/policy/require.py."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from relay.policy.quantities import as_list

Requirement = Literal["list_unsubscribe", "aligned_dkim", "visible_address"]
Requirements = Annotated[list[Requirement], BeforeValidator(as_list), Field(min_length=1)]
