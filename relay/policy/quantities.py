"""Quantities as people write them: `2h`, `50MiB`, `50%`, `10/min`, `10.0.0.0/8`, `[::1]:2525`.

Every parser takes what the YAML had and returns the value, or raises ValueError saying what is allowed.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
DURATION_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(|[kKMG]?B|[kKMG]|[KMG]iB?)")
SIZE_FACTOR = {"": 1, "k": 1000, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|sec|second|m|min|minute|h|hour|d|day)")
RATE_S = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
}
LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*", re.IGNORECASE)


class Endpoint(NamedTuple):
    """A host name or IP address, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_duration(value: Any) -> float:
    """Seconds of `30s`, `1m`, `2h`, `1h30m`, `3d`, `500ms`."""
    if isinstance(value, str) and value:
        parts = DURATION.findall(value)
        if "".join(number + unit for number, unit in parts) == value:
            return float(sum(float(number) * DURATION_S[unit] for number, unit in parts))
    raise ValueError(f"{shown(value)} is no duration; write a number and its unit, like 30s, 5m, 2h or 3d")


def parse_size(value: Any) -> int:
    """Bytes of `100k`, `50MiB`, `10MB` or a plain number. k, KB, MB and GB count in thousands as storage is
    sold; KiB, MiB and GiB in 1024."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := SIZE.fullmatch(value)):
        return int(float(match[1]) * SIZE_FACTOR[match[2].lower().removesuffix("b")])
    raise ValueError(f"{shown(value)} is no size; write it like 100k, 10MB or 50MiB")


def parse_percent(value: Any) -> float:
    """The share (0 to 1) of `50%`."""
    if isinstance(value, str) and (match := PERCENT.fullmatch(value)) and float(match[1]) <= 100:
        return float(match[1]) / 100
    raise ValueError(f"{shown(value)} is no share; write it from 0% to 100%, like 50% or 99.9%")


def parse_rate(value: Any) -> float:
    """Events a second of `10/min`."""
    if isinstance(value, str) and (match := RATE.fullmatch(value)):
        return float(match[1]) / RATE_S[match[2]]
    raise ValueError(f"{shown(value)} is no rate; write it like 10/s, 100/min or 5000/h")


def parse_network(value: Any) -> IPv4Network | IPv6Network:
    """The network of `10.0.0.0/8`, `2001:db8::/32`, or one address."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        if "host bits" in str(error):
            right = ip_network(value, strict=False)
            raise ValueError(f"{shown(value)} has bits set outside its mask; write {right}") from None
    raise ValueError(f"{shown(value)} is no network; write it like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7")


def parse_endpoint(value: Any, *, port: int = 0) -> Endpoint:
    """Host and port of `127.0.0.1:2525`, `[::1]:2525`, `mail.example.com:587`; `port` is what a text without
    one means, 0 that there must be one."""
    text = value if isinstance(value, str) else ""
    if port and (":" not in text or text.endswith("]") or is_address(text)):
        text = f"[{text}]:{port}" if text.count(":") > 1 and text[0] != "[" else f"{text}:{port}"
    host, _, digits = text.rpartition(":")
    in_range = digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) < 65536
    if in_range and host.startswith("[") and host.endswith("]") and is_address(host[1:-1]):
        return Endpoint(host[1:-1], int(digits))
    if in_range and HOST.fullmatch(host):
        return Endpoint(host, int(digits))
    raise ValueError(f"{shown(value)} is no host and port; write it like 127.0.0.1:2525 or [::1]:2525")


def parse_address(value: Any) -> str:
    """An IP address in its usual form."""
    if isinstance(value, str) and is_address(value):
        return str(ip_address(value))
    raise ValueError(f"{shown(value)} is no IP address; write it like 192.0.2.10 or 2001:db8::10")


def parse_host(value: Any) -> str:
    """A host name in lower case."""
    if isinstance(value, str) and HOST.fullmatch(value) and not is_address(value):
        return value.lower()
    raise ValueError(f"{shown(value)} is no host name; write it like relay.example.com")


def parse_text(value: Any) -> str:
    """Text without control characters; a number must be quoted to be text."""
    if isinstance(value, int | float):  # true and false are ints too
        raise ValueError(f"{shown(value)} must be text here; put it in quotes")
    if not isinstance(value, str) or not value:
        raise ValueError(f"{shown(value)} must be text")
    if not value.isprintable():
        raise ValueError("control characters and line ends may not stand here")
    return value


def parse_whole(value: Any) -> int:
    """A whole number; not text, not true, not 012."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isdigit():
        raise ValueError(f'"{value}" must be a whole number; write {int(value[:18])}, no quotes')
    raise ValueError(f"{shown(value)} must be a whole number")


def parse_flag(value: Any) -> bool:
    """true or false; in YAML 1.2 yes, no, on and off are words."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"{shown(value)} must be true or false")


def as_list(value: Any) -> Any:
    """One value stands for a list of it."""
    return value if isinstance(value, list) else [value]


def is_address(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def shown(value: Any) -> str:
    """A value as a message names it."""
    if value is None:
        return "an empty value"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = str(value)
    return f"`{text if len(text) <= 60 else text[:59] + '…'}`"


def _schema(kind: str, description: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "description": description, **more})


DURATION_SCHEMA = _schema("string", "a duration: 30s, 5m, 2h, 3d", pattern=r"^(\d+(\.\d+)?(ms|s|m|h|d))+$")
PERCENT_SCHEMA = _schema("string", "a share: 0% to 100%", pattern=r"^\d+(\.\d+)?\s*%$")
SIZE_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}], "description": "a size: 100k, 50MiB"}
)
NETWORK_SCHEMA = _schema("string", "a network or address: 10.0.0.0/8, 2001:db8::/32")
BIND_SCHEMA = _schema("string", "address and port: 127.0.0.1:2525, [::1]:2525")

Text = Annotated[str, BeforeValidator(parse_text), _schema("string", "text")]
Whole = Annotated[int, BeforeValidator(parse_whole), _schema("integer", "a whole number")]
Flag = Annotated[bool, BeforeValidator(parse_flag), _schema("boolean", "true or false")]
Duration = Annotated[float, BeforeValidator(parse_duration), DURATION_SCHEMA]
Size = Annotated[int, BeforeValidator(parse_size), SIZE_SCHEMA]
Percent = Annotated[float, BeforeValidator(parse_percent), PERCENT_SCHEMA]
Rate = Annotated[float, BeforeValidator(parse_rate), _schema("string", "a rate: 10/s, 100/min, 5000/h")]
Network = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(parse_network), PlainSerializer(str), NETWORK_SCHEMA
]
Bind = Annotated[Endpoint, BeforeValidator(parse_endpoint), BIND_SCHEMA]
Address = Annotated[str, BeforeValidator(parse_address), _schema("string", "an IP address")]
HostName = Annotated[str, BeforeValidator(parse_host), _schema("string", "a host name")]
