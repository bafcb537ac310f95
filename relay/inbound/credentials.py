"""The credentials file: one entry per application, passwords as argon2id hashes only.

    shop:
      hash: "$argon2id$v=19$m=19456,t=2,p=1$..."
      senders: ["*@shop.example.com"]     # may be left out: any sender
      stream: transactional               # every message of it; or
      streams: [transactional, marketing] # what X-Relay-Stream may choose
      networks: [10.0.5.0/24]             # where it may be used; left out: anywhere
      rate: 100/min                       # recipients; left out: no limit
      daily: 20000                        # recipients a day (UTC)
      send_ahead: 7d                      # how far ahead X-Relay-Send-At may be; left out: not at all
      note: "web shop, owned by team checkout"
      created: "2026-11-21"
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import argon2
import yaml

from relay.core.pattern import compile_pattern
from relay.core.quota import Pace
from relay.inbound.nesting import trick
from relay.inbound.settings import Network
from relay.policy.quantities import parse_duration
from relay.policy.quota import parse_pace

# OWASP Password Storage Cheat Sheet (2025): argon2id with 19 MiB, 2 passes, 1 lane. More memory a check
# would let a few parallel logins outgrow the relay itself.
HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
KEYS = ("hash", "senders", "stream", "streams", "networks", "rate", "daily", "send_ahead", "note", "created")
MAX_FILE_BYTES = 10_000_000
PASSWORD_BYTES = 24


@dataclass(frozen=True, slots=True)
class Credential:
    """One account. `senders` are globs, empty: any; `networks` empty: from anywhere; `rate` and `daily` count
    recipients, None and 0: no limit. `places`: line and column in the file of each stream that is named."""

    name: str
    hash: str = field(repr=False)
    senders: tuple[str, ...] = ()
    stream: str = ""
    streams: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    note: str = ""
    created: str = ""
    rate: Pace | None = None
    daily: int = 0
    send_ahead: str = ""
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def ahead_s(self) -> float:
        """How many seconds ahead X-Relay-Send-At may be."""
        return parse_duration(self.send_ahead or "0s")


@dataclass(frozen=True, slots=True)
class CredentialProblem:
    """One thing wrong in a credentials file; lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{hint}"


def hash_password(password: str) -> str:
    """The argon2id hash of a password, salt and parameters in it. Takes about 20 ms of CPU."""
    return HASHER.hash(password)


def new_password() -> str:
    """A random password of 32 letters, digits, - and _."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def verify(hashed: str, password: str) -> bool:
    """Whether the password belongs to the hash; slow by design, so never call it on the event loop."""
    try:
        return HASHER.verify(hashed, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def parse_credentials(text: str, file: str) -> tuple[dict[str, Credential], list[CredentialProblem]]:
    """The credentials of a file's text and every problem in it. An entry with a problem is left out."""
    reader = _Reader(file)
    if len(text) > MAX_FILE_BYTES:
        reader.problems.append(CredentialProblem(file, 1, 1, f"file is larger than {MAX_FILE_BYTES} bytes"))
        return {}, reader.problems
    try:
        if found := trick(text):
            reader.problems.append(CredentialProblem(file, 1, 1, found))
            return {}, reader.problems
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = getattr(error, "problem", None) or "not YAML"
        reader.problems.append(CredentialProblem(file, line, column, str(what)))
        return {}, reader.problems
    return reader.credentials(root), reader.problems


class _Reader:
    """Walks the YAML nodes, which know where they stand, and collects problems instead of stopping."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[CredentialProblem] = []

    def problem(self, node: yaml.Node, message: str, hint: str = "") -> None:
        mark = node.start_mark
        self.problems.append(CredentialProblem(self.file, mark.line + 1, mark.column + 1, message, hint))

    def credentials(self, root: yaml.Node | None) -> dict[str, Credential]:
        if root is None:
            return {}
        found = {}
        for name, (key, node) in self.pairs(root, "the file", "NAME: {hash: ...}").items():
            before = len(self.problems)
            if not NAME.fullmatch(name):
                self.problem(key, f"bad name {name!r}", "letters, digits and . _ @ + -, at most 128")
            credential = self.credential(name, key, node)
            if len(self.problems) == before:
                found[name] = credential
        return found

    def credential(self, name: str, key: yaml.Node, node: yaml.Node) -> Credential:
        fields = self.pairs(node, name, "hash: ..., senders: [...]")
        for unknown in fields.keys() - set(KEYS):
            self.problem(fields[unknown][0], f"{name}: unknown key {unknown!r}", f"one of {', '.join(KEYS)}")
        hashed = self.text(fields, "hash")
        if not hashed.startswith("$argon2id$"):
            where = fields["hash"][1] if "hash" in fields else key
            self.problem(where, f"{name}: hash must be an argon2id hash", "relay credential add makes one")
        if "stream" in fields and "streams" in fields:
            self.problem(fields["streams"][0], f"{name}: give stream or streams, not both")
        return Credential(
            name=name,
            hash=hashed,
            senders=self.senders(fields),
            stream=self.text(fields, "stream"),
            streams=tuple(text for _, text in self.texts(fields, "streams")),
            networks=self.networks(fields),
            rate=self.rate(fields),
            daily=self.daily(fields),
            send_ahead=self.send_ahead(fields),
            note=self.text(fields, "note"),
            created=self.text(fields, "created"),
            places=self.stream_places(fields),
        )

    def stream_places(self, fields: dict[str, tuple[yaml.Node, yaml.Node]]) -> dict[str, tuple[int, int]]:
        """Where streams are named, by the key `stream` or `streams`; what is malformed is told elsewhere."""
        nodes = [fields[key][1] for key in ("stream", "streams") if key in fields]
        inner = [one for node in nodes for one in (node.value if isinstance(node, yaml.SequenceNode) else [node])]
        marks = {one.value: one.start_mark for one in inner if isinstance(one, yaml.ScalarNode)}
        return {str(name): (mark.line + 1, mark.column + 1) for name, mark in marks.items()}

    def pairs(self, node: yaml.Node, what: str, shape: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, f"{what} must be a mapping", shape)
            return {}
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not name or name in found:
                self.problem(key, f"{name or 'key'}: {'given twice' if name else 'must be a plain word'}")
            else:
                found[name] = (key, value)
        return found

    def text(self, fields: dict[str, tuple[yaml.Node, yaml.Node]], name: str) -> str:
        if name not in fields:
            return ""
        node = fields[name][1]
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, f"{name} must be one text")
            return ""
        return str(node.value)

    def texts(self, fields: dict[str, tuple[yaml.Node, yaml.Node]], name: str) -> list[tuple[yaml.Node, str]]:
        node = fields[name][1] if name in fields else None
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode) or not all(
            isinstance(item, yaml.ScalarNode) for item in node.value
        ):
            self.problem(node, f"{name} must be a list of texts", f'{name}: ["..."]')
            return []
        if not node.value:
            self.problem(node, f"{name} is empty", f"leave {name} out to mean any")
        return [(item, str(item.value)) for item in node.value]

    def senders(self, fields: dict[str, tuple[yaml.Node, yaml.Node]]) -> tuple[str, ...]:
        found = []
        for node, text in self.texts(fields, "senders"):
            try:
                found.append(compile_pattern(text).text)
            except ValueError as error:
                self.problem(node, f"senders: {error}")
        return tuple(found)

    def networks(self, fields: dict[str, tuple[yaml.Node, yaml.Node]]) -> tuple[Network, ...]:
        found = []
        for node, text in self.texts(fields, "networks"):
            try:
                found.append(ipaddress.ip_network(text, strict=False))
            except ValueError:
                self.problem(node, f"{text!r} is not a network", "10.0.0.0/8 or 2001:db8::/32")
        return tuple(found)

    def rate(self, fields: dict[str, tuple[yaml.Node, yaml.Node]]) -> Pace | None:
        text = self.text(fields, "rate")
        try:
            return parse_pace(text) if text else None
        except ValueError as error:
            what, _, hint = str(error).partition("; ")
            self.problem(fields["rate"][1], f"rate: {what}", hint)
            return None

    def send_ahead(self, fields: dict[str, tuple[yaml.Node, yaml.Node]]) -> str:
        text = self.text(fields, "send_ahead")
        try:
            parse_duration(text or "0s")
        except ValueError as error:
            self.problem(fields["send_ahead"][1], f"send_ahead: {error}")
            return ""
        return text

    def daily(self, fields: dict[str, tuple[yaml.Node, yaml.Node]]) -> int:
        text = self.text(fields, "daily")
        if "daily" in fields and not (text.isascii() and text.isdecimal() and int(text[:12]) > 0):
            self.problem(fields["daily"][1], f"daily: {text!r} is no number of recipients", "daily: 20000")
            return 0
        return int(text[:12]) if text else 0


def load_credentials(path: str) -> tuple[dict[str, Credential], list[CredentialProblem]]:
    """Reads and parses the file; one that cannot be read is a problem too, one that is not there is empty."""
    try:
        return parse_credentials(Path(path).read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError) as error:
        return {}, [CredentialProblem(path, 1, 1, f"cannot be read: {error}")]


def dump_credentials(credentials: Mapping[str, Credential]) -> str:
    """The file's text for these credentials, sorted by name; parses back to the same."""
    rows = {name: _as_dict(credentials[name]) for name in sorted(credentials)}
    return yaml.safe_dump(rows, sort_keys=False)


def _as_dict(credential: Credential) -> dict[str, object]:
    row: dict[str, object] = {"hash": credential.hash}
    row |= {"senders": list(credential.senders), "stream": credential.stream}
    row |= {"streams": list(credential.streams), "networks": [str(net) for net in credential.networks]}
    row |= {"rate": credential.rate.text if credential.rate else "", "daily": credential.daily}
    row |= {"send_ahead": credential.send_ahead, "note": credential.note, "created": credential.created}
    return {key: value for key, value in row.items() if value}


def save_credentials(path: str, credentials: Mapping[str, Credential]) -> None:
    """Replaces the file in one step: readable by its owner alone, synced, never half written."""
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(prefix=".credentials-", dir=folder)  # created with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(dump_credentials(credentials))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
