"""DKIM keys for a test run: the private half as a PEM file, the public half as a DNS record."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from tests.peers.nameserver import txt


@dataclass(frozen=True)
class Key:
    """`pem` is PKCS#8; `record` what to publish at SELECTOR._domainkey.DOMAIN."""

    selector: str
    pem: bytes
    record: str

    @property
    def algorithm(self) -> str:
        """As a policy calls it."""
        return "ed25519" if "k=ed25519" in self.record else "rsa"

    @property
    def zone_line(self) -> str:
        """The record for the zone file of the signing domain."""
        return f"{self.selector}._domainkey TXT {txt(self.record)}\n"


def rsa_key(selector: str) -> Key:
    """A fresh RSA-2048 key (RFC 8301 §3.2)."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Key(selector, _pem(key), f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}")


def ed25519_key(selector: str) -> Key:
    """A fresh Ed25519 key (RFC 8463 §4.2: the record holds the bare 32 bytes)."""
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return Key(selector, _pem(key), f"v=DKIM1; k=ed25519; p={base64.b64encode(public).decode()}")


def _pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
