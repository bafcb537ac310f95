"""What providers really say: the samples of the shipped policies, and the shipped rules that must hear them."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SHIPPED = Path(__file__).parents[2] / "policies" / "providers.yaml"
EVERYONE = "everyone else"


@cache
def _providers() -> dict[str, Any]:
    return dict(yaml.safe_load(SHIPPED.read_text("utf-8"))["providers"])


def said(provider: str, rule: str) -> str:
    """The first sample of a shipped rule: a reply as it came from that provider."""
    [found] = [one for one in _providers()[provider]["replies"] if one["name"] == rule]
    sample = found["sample"]
    return str(sample if isinstance(sample, str) else sample[0]).strip()


def shipped(provider: str, mx: str, *, lasting: str, **per_source: Any) -> dict[str, Any]:
    """A shipped provider's entry for other MX names: rules and words as they are, but what they lead to ends after
    `lasting`, and a threshold is met by the first reply: a test has seconds where providers have hours."""
    entry: dict[str, Any] = deepcopy(_providers()[provider])
    entry["mx"] = mx
    entry["per_source"] = {**entry["per_source"], "tls": "opportunistic", **per_source}
    for rule in entry.get("replies", []):
        rule.pop("after", None)
        rule["do"] = {key: lasting if key in {"for", "retry"} else value for key, value in rule["do"].items()}
    return dict(entry)


def on_the_wire(reply: str) -> bytes:
    """The reply as bytes, every line with its code."""
    return b"".join(line.encode() + b"\r\n" for line in reply.strip().split("\n"))
