"""`relay dkim`: signing keys, and the DNS records that go with them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.failure import Failed, Misused
from relay.cli.options import ConfigOption, JsonOption, noun
from relay.cli.output import show_json, show_table
from relay.cli.place import read_config

if TYPE_CHECKING:
    from dns.resolver import Resolver

app = noun("dkim", "Signing keys, and the DNS records that go with them.")
Domain = Annotated[str, typer.Argument(metavar="DOMAIN")]
Selector = Annotated[str, typer.Argument(metavar="SELECTOR")]
MaybeSelector = Annotated[str, typer.Argument(metavar="[SELECTOR]", help="Default: all of the domain.")]
Folder = Annotated[Path | None, typer.Option("--keys", metavar="FOLDER", help="Default: dkim in the data folder.")]
DNS_S = 10.0  # one question with its retries
TXT_CHARS = 255  # RFC 1035 §3.3: a character-string has a length octet


class Algorithm(str, Enum):
    """Kinds of key (RFC 6376, RFC 8463)."""

    RSA = "rsa"
    ED25519 = "ed25519"
