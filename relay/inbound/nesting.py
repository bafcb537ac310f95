"""What makes YAML dangerous to read whole, found before it is: aliases and depth."""

from __future__ import annotations

import yaml

MAX_DEPTH = 8  # of a credentials file, which has three levels


def trick(text: str) -> str:
    """What makes a file dangerous to read whole, or "". libyaml's time grows with the square of the depth."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            return "aliases (*name) are not allowed here"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return f"nested more than {MAX_DEPTH} levels deep; a credential is NAME: {{hash: ...}}"
    return ""
