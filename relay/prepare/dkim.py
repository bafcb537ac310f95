"""DKIM signatures (RFC 6376, RFC 8301, RFC 8463): one body hash, any number of keys.

What is signed: the fields of SIGNED that are present and every Content-* and List-* field; From, To,
Subject and Date once more than they occur, so that none can be added afterwards (§8.15). Trace fields
(Received) are not signed: every host on the way adds some. No l= (it lets anybody append), no i=, no x=.

The signature goes on top of everything, Received included: as it does not cover Received this says only
when it was made, after our Received was there.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Literal, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from relay.core.content import Content
from relay.core.headers import Headers
from relay.prepare.canonical import relaxed_body_hash, relaxed_fields, relaxed_header

OVERSIGNED = ("from", "to", "subject", "date")
# §5.4.1's fields, as far as no host on the way may change them; Feedback-ID counts at Gmail when signed.
SIGNED = (
    *OVERSIGNED, "cc", "message-id", "reply-to", "sender", "in-reply-to", "references", "mime-version",
    "resent-from", "resent-to", "resent-cc", "resent-date", "resent-message-id", "resent-sender",
    "feedback-id",
)  # fmt: skip
# RFC 8058 §4 wants List-Unsubscribe and List-Unsubscribe-Post signed: both begin with list-.
# Content-Length is no MIME field: Postfix, for one, takes it out on the way. A name may hold ";" and "="
# (RFC 5322 §2.2), which in h= would write tags of the sender's choosing, l= among them.
SIGNED_BY_PREFIX = re.compile(rb"(?:content-(?!length\Z)|list-)[a-z0-9-]{1,50}")
MAX_BY_PREFIX = 60  # distinct names; there are two dozen in use, and h= must stay readable for verifiers
MAX_REPEATS = 20  # of one name; more are nobody's
MAX_CACHED_FIELDS = 100  # longer header blocks are nobody's layout
LINE_CHARS = 76  # RFC 5322 §2.1.1 asks for 78 at most
PADDING, HASH = PKCS1v15(), Prehashed(SHA256())

Algorithm = Literal["rsa", "ed25519"]


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key and the name it signs under: SELECTOR._domainkey.DOMAIN holds its public half."""

    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey
    algorithm: Algorithm = field(init=False)
    """"rsa" or "ed25519", as the signing entry of a policy calls it."""

    def __post_init__(self) -> None:
        algorithm = "rsa" if isinstance(self.key, RSAPrivateKey) else "ed25519"
        object.__setattr__(self, "algorithm", algorithm)  # asking the key's class costs more than all else here

    def signature(self, data: bytes) -> bytes:
        """The signature over `data`. RSA releases the interpreter lock while it computes."""
        digest = sha256(data).digest()
        if self.algorithm == "rsa":
            return cast(RSAPrivateKey, self.key).sign(digest, PADDING, HASH)
        return cast(Ed25519PrivateKey, self.key).sign(digest)  # RFC 8463 §3: Ed25519 over the SHA-256 digest


@dataclass(frozen=True, slots=True)
class Plan:
    """What one layout of headers has signed: `order` are positions in the header block in the order
    of `h`, which is the folded h= tag. The same application sends the same layout again and again."""

    order: tuple[int, ...]
    h: str


def plan(names: tuple[bytes, ...]) -> Plan:
    """The plan for fields of these lower-case names, top first."""
    places: dict[bytes, list[int]] = {}
    for index, name in enumerate(names):
        places.setdefault(name, []).append(index)
    wanted = [name.encode() for name in SIGNED]
    wanted += sorted(filter(SIGNED_BY_PREFIX.fullmatch, places))[:MAX_BY_PREFIX]
    order: list[int] = []
    listed: list[str] = []
    for name in wanted:
        found = places.get(name, [])[: -MAX_REPEATS - 1 : -1]  # §5.4.2: of several, the lowest comes first
        order += found
        extra = name.decode() in OVERSIGNED
        listed += [name.decode()] * (len(found) + extra)
    return Plan(tuple(order), _folded_names(listed))


cached_plan = lru_cache(maxsize=512)(plan)


def _folded_names(names: Sequence[str]) -> str:
    """`h=a:b:…` in lines of at most LINE_CHARS; folding is allowed beside a colon (§3.5)."""
    lines, line = [], "\th=" + names[0]
    for name in names[1:]:
        if len(line) + len(name) + 2 > LINE_CHARS:
            lines.append(line + ":")
            line = "\t " + name
        else:
            line += ":" + name
    return "\r\n".join([*lines, line])


def signed_data(fields: Headers) -> tuple[bytes, str]:
    """The canonical header fields a signature covers, and the h= tag that lists them."""
    rows = fields.fields
    names = tuple([row[0] for row in rows])
    chosen = cached_plan(names) if len(rows) <= MAX_CACHED_FIELDS else plan(names)
    return relaxed_fields([rows[index] for index in chosen.order]), chosen.h


def sign(content: Content, headers: Headers, signers: Sequence[Signer], now_s: float) -> bytes:
    """The DKIM-Signature fields to put on top, one for each signer in their order; b"" for none.
    `headers` are the fields of `content.header`, `now_s` is Unix time. Reads the body once."""
    if not signers:
        return b""
    body_hash = b2a_base64(relaxed_body_hash(content.body.chunks()), newline=False).decode()
    covered, h = signed_data(headers)
    return b"".join([_signature_field(signer, covered, h, body_hash, int(now_s)) for signer in signers])


def _signature_field(signer: Signer, covered: bytes, h: str, body_hash: str, now_s: int) -> bytes:
    """One complete field. It covers itself with an empty b= and without its CRLF (§3.7)."""
    # §3.5: the domain and selector may be too long for one line with the rest
    unsigned = (
        f"DKIM-Signature: v=1; a={signer.algorithm}-sha256; c=relaxed/relaxed;\r\n"
        f"\td={signer.domain}; s={signer.selector};\r\n"
        f"\tt={now_s};\r\n{h};\r\n\tbh={body_hash};\r\n\tb="
    ).encode()
    signature = signer.signature(covered + relaxed_header(unsigned)[:-2])
    return unsigned + _folded_base64(signature) + b"\r\n"


def _folded_base64(octets: bytes) -> bytes:
    """Base64 in lines of LINE_CHARS; white space inside b= means nothing (§3.5)."""
    text = b2a_base64(octets, newline=False)
    first, step = LINE_CHARS - 3, LINE_CHARS - 2
    rest = [text[i : i + step] for i in range(first, len(text), step)]
    return b"\r\n\t ".join([text[:first], *rest])
