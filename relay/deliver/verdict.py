"""What a receiver would say of a message's DKIM signatures, by a verifier that is not our own signer."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass

import dkim
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from dkim.util import InvalidTagValueList, parse_tag_value

DnsTxt = Callable[[bytes], bytes | None]
Header = tuple[bytes, bytes]

# dkimpy's relaxed canonicalisation is quadratic in runs of spaces: 1 MB of legal lines took 1.4 s (measured).
MAX_BYTES = 1024 * 1024
MAX_SIGNATURES = 10
SILENT = logging.getLogger("relay.dkim.verdict")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False  # what dkimpy logs is in the verdict


@dataclass(frozen=True, slots=True)
class Verdict:
    """One signature: `result` is "pass", "fail" or "none", with the reason when it is not "pass"."""

    domain: str
    selector: str
    result: str
    reason: str = ""

    def __str__(self) -> str:
        """`pass`, or `fail: why`."""
        return f"{self.result}: {self.reason}" if self.reason else self.result


def dkim_verdicts(message: bytes, dns_txt: DnsTxt) -> tuple[Verdict, ...]:
    """One verdict for each DKIM-Signature, top first (RFC 6376 §6.1); empty without any. `dns_txt` answers
    for a name like b"s1._domainkey.example.com." with its TXT record or None. Takes milliseconds of CPU and
    belongs in a thread. Messages above 1 MiB are not checked, and say so."""
    if len(message) > MAX_BYTES:
        return (Verdict("", "", "none", f"not checked: larger than {MAX_BYTES} bytes"),)
    try:
        checked = _Message(message, logger=SILENT)
    except (dkim.DKIMException, ValueError) as trouble:
        return (Verdict("", "", "fail", str(trouble)),)
    count = sum(name.lower() == b"dkim-signature" for name, _ in checked.headers)
    return tuple(_verdict(message, index, dns_txt) for index in range(min(count, MAX_SIGNATURES)))


def _verdict(message: bytes, index: int, dns_txt: DnsTxt) -> Verdict:
    checked = _Message(message, logger=SILENT)
    missing = []

    def answer(name: bytes, timeout: float = 5) -> bytes:
        record = dns_txt(name)
        if record is None:
            missing.append(name.decode("ascii", "replace").rstrip("."))
        return record or b""

    reason = ""
    try:
        if not checked.verify(index, answer):
            reason = f"no key at {missing[0]}" if missing else "the signature does not match"
    except (dkim.DKIMException, ValueError, KeyError) as trouble:
        reason = str(trouble) or type(trouble).__name__
    return Verdict(_text(checked.domain), _text(checked.selector), "fail" if reason else "pass", reason)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


class _Message(dkim.DKIM):  # type: ignore[misc]  # dkimpy ships no types: its classes are Any
    """dkimpy verifies Ed25519 (RFC 8463) only with another library at hand; here `cryptography` does it."""

    def verify_sig(
        self, sig: dict[bytes, bytes], include_headers: list[bytes], sig_header: Header, dnsfunc: DnsTxt
    ) -> bool:
        """True when the signature matches its key; raises what dkimpy raises."""
        record = dnsfunc(sig[b"s"] + b"._domainkey." + sig[b"d"] + b".")
        key = _Ed25519.parse(record or b"")
        if key is None:
            return bool(super().verify_sig(sig, include_headers, sig_header, dnsfunc))
        self.pk, self.keysize, self.ktag, self.seqtlsrpt = key, 256, b"ed25519", False
        self.verify_sig_process(sig, include_headers, sig_header, dnsfunc)
        return key.matched


class _Ed25519:
    """A public key in the form dkimpy calls: `verify(digest, signature)`; `matched` tells what came of it."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.matched = False

    @classmethod
    def parse(cls, record: bytes) -> _Ed25519 | None:
        """The key of a DNS record of type k=ed25519 (RFC 8463 §4); None for any other record."""
        try:
            tags = parse_tag_value(record)
        except InvalidTagValueList:
            return None
        if tags.get(b"k") != b"ed25519":
            return None
        return cls(Ed25519PublicKey.from_public_bytes(base64.b64decode(tags.get(b"p", b""))))

    def verify(self, digest: bytes, signature: bytes) -> None:
        try:
            self._key.verify(signature, digest)
        except InvalidSignature:
            return
        self.matched = True
