"""DKIM keys: found on disk, kept in memory, made, and written down for DNS.

A key is the file DOMAIN/SELECTOR.pem under one directory, or any path a signing entry names: PEM, PKCS#1
or PKCS#8, RSA or Ed25519, line ends of either kind. Everything that is found stays in memory, and so does
what is not there, until `refresh()`: the hot path never touches the disk.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE
from tempfile import mkstemp
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from relay.prepare.dkim import Algorithm, Signer

MIN_RSA_BITS = 1024  # RFC 8301 §3.2: verifiers must not consider less valid
GOOD_RSA_BITS = 2048  # and signers should use this
MAX_RSA_BITS = 4096  # verifiers need not take more; signing with it costs six times as much
MAX_KEY_FILE_BYTES = 65536
MAX_REMEMBERED = 10_000  # names looked for; From may say any domain
# Also what keeps a From header from naming files: no slash, no leading dot, no empty label.
NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_][a-z0-9_-]{0,62}(?:\.[a-z0-9_][a-z0-9_-]{0,62})*", re.IGNORECASE)
TXT_STRING_BYTES = 255  # RFC 1035 §3.3


@dataclass(frozen=True, slots=True)
class Found:
    """What looking for a key came to: the signer, or the `problem` that prevents signing. `warnings` are
    no obstacle but want attention."""

    path: Path
    signer: Signer | None = None
    problem: str = ""
    warnings: tuple[str, ...] = ()


class SigningEntry(Protocol):
    """One entry of a stream's `dkim:`. `domain` is a name or "from", `key` a file or ""."""

    @property
    def domain(self) -> str: ...

    @property
    def selector(self) -> str: ...

    @property
    def algorithm(self) -> str: ...

    @property
    def key(self) -> str: ...


class KeyRing:
    """The keys under one directory."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self._found: dict[tuple[str, str, str], Found] = {}
        self._chosen: dict[tuple[str, ...], Signer | None] = {}  # for a From domain and a signing entry

    def find(self, domain: str, selector: str, algorithm: str, path: str = "") -> Signer | None:
        """The signer for these names, or None: then `look` says why."""
        found = self.look(domain, selector, algorithm, path)
        return found.signer

    def look(self, domain: str, selector: str, algorithm: str, path: str = "") -> Found:
        """The key with all there is to say about it. A key of another algorithm is a problem."""
        names = (domain.lower(), selector, path)
        found = self._found.get(names)
        if found is None:
            if len(self._found) >= MAX_REMEMBERED:
                self.refresh()
            found = self._found[names] = self._read(*names)
        if found.signer and found.signer.algorithm != algorithm:
            problem = f"{found.path} is an {found.signer.algorithm} key, not {algorithm}"
            return Found(found.path, problem=f"{problem}; set algorithm: {found.signer.algorithm}")
        return found

    def aligned(self, domain: str, selector: str, algorithm: str, path: str = "") -> Signer | None:
        """The signer for a From domain: its own, else that of the nearest parent of two labels or more,
        which DMARC's relaxed alignment takes as well (RFC 7489 §3.1.1). With `path` the domain is its own."""
        labels = domain.split(".")
        for cut in range(1 if path else max(1, len(labels) - 1)):
            if signer := self.find(".".join(labels[cut:]), selector, algorithm, path):
                return signer
        return None

    def signers(self, signings: Sequence[SigningEntry], from_domain: str) -> tuple[Signer, ...]:
        """The signers for a stream's signing entries, in their order, without those that have no key;
        `from_domain` is what stands for the domain "from". `missing` says why one is not there."""
        chosen = [self._signer(entry, from_domain) for entry in signings]
        return tuple([signer for signer in chosen if signer])

    def missing(self, signings: Sequence[SigningEntry], from_domain: str) -> list[str]:
        """One line for every signing entry that cannot sign for this From domain."""
        lines = []
        for entry in signings:
            if not self._signer(entry, from_domain):
                domain = from_domain if entry.domain == "from" else entry.domain
                lines.append(self.look(domain, entry.selector, entry.algorithm, entry.key).problem)
        return lines

    def _signer(self, entry: SigningEntry, from_domain: str) -> Signer | None:
        names = (from_domain, entry.domain, entry.selector, entry.algorithm, entry.key)
        if names in self._chosen:
            return self._chosen[names]
        find, domain = (self.aligned, from_domain) if entry.domain == "from" else (self.find, entry.domain)
        signer = find(domain, entry.selector, entry.algorithm, entry.key)
        if len(self._chosen) >= MAX_REMEMBERED:
            self._chosen.clear()
        self._chosen[names] = signer
        return signer

    def record_of(self, name: bytes) -> bytes | None:
        """The TXT record our own key has at a DNS name like b"r1._domainkey.example.com.", None for another's:
        the sandbox verifies without DNS."""
        selector, _, domain = name.decode("ascii", "replace").rstrip(".").partition("._domainkey.")
        found = (self.find(domain, selector, algorithm) for algorithm in ("rsa", "ed25519"))
        return next((record_text(signer).encode() for signer in found if signer), None)

    def refresh(self) -> None:
        """Forgets everything, so that changed files are read when they are needed next (SIGHUP)."""
        self._found.clear()
        self._chosen.clear()

    def _read(self, domain: str, selector: str, path: str) -> Found:
        file = Path(path) if path else self.directory / domain / f"{selector}.pem"
        for what, name in (("domain", domain), ("selector", selector)):
            if not NAME.fullmatch(name):
                return Found(
                    file, problem=f"{name!r} is no {what}; letters, digits, hyphens and dots make one"
                )
        return read_key(file, domain, selector)


def read_key(file: Path, domain: str, selector: str) -> Found:
    """One key file. Its problem names the file and the remedy."""
    try:
        with file.open("rb") as stream:
            mode = S_IMODE(os.fstat(stream.fileno()).st_mode)
            pem = stream.read(MAX_KEY_FILE_BYTES)
    except OSError as error:
        hint = f"; make it with: relay dkim generate {domain} {selector}" if not file.exists() else ""
        return Found(file, problem=f"{file}: {error.strerror}{hint}")
    try:
        key = load_pem_private_key(pem.replace(b"\r\n", b"\n"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = "it is encrypted" if isinstance(error, TypeError) else str(error).partition(".")[0]
        return Found(
            file, problem=f"{file} is no private key in PEM form (PKCS#1 or PKCS#8, no password): {why}"
        )
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        return Found(file, problem=f"{file} is neither an RSA nor an Ed25519 key; DKIM has no others")
    warnings = [f"{file} may be read by others (mode {mode:04o}); chmod 600 it"] if mode & 0o077 else []
    if isinstance(key, RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            return Found(
                file, problem=f"{file} has {key.key_size} bits; RFC 8301 forbids less than 1024, use 2048"
            )
        if not GOOD_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            warnings.append(f"{file} has {key.key_size} bits; 2048 is what every verifier takes (RFC 8301)")
    return Found(file, Signer(domain, selector, key), warnings=tuple(warnings))


def generate(domain: str, selector: str, algorithm: Algorithm, directory: str | Path) -> Path:
    """Makes a key and returns its file, mode 0600, complete or not there at all. Raises FileExistsError
    rather than replace a key, ValueError for a bad name."""
    for name in (domain, selector):
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a key; letters, digits, hyphens and dots make one")
    key = generate_private_key(65537, GOOD_RSA_BITS) if algorithm == "rsa" else Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    folder = Path(directory) / domain
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / f"{selector}.pem"
    descriptor, temporary = mkstemp(dir=folder, prefix=".new-")  # mode 0600 from the start
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(temporary, file)  # unlike rename, never replaces
    finally:
        os.unlink(temporary)
    return file


def record_text(signer: Signer) -> str:
    """The TXT record's text: what is published at SELECTOR._domainkey.DOMAIN (RFC 6376 §3.6.1)."""
    public = signer.key.public_key()
    if signer.algorithm == "rsa":
        octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)  # RFC 8463 §4: the bare 32 octets
    return f"v=DKIM1; k={signer.algorithm}; h=sha256; p={base64.b64encode(octets).decode()}"


def dns_record(signer: Signer) -> str:
    """The record as a line of a zone file, in strings of at most 255 bytes, which DNS joins again."""
    text = record_text(signer)
    strings = [text[i : i + TXT_STRING_BYTES] for i in range(0, len(text), TXT_STRING_BYTES)]
    quoted = " ".join(f'"{string}"' for string in strings)
    if len(strings) > 1:
        quoted = f"( {quoted} )"
    return f"{signer.selector}._domainkey.{signer.domain}. IN TXT {quoted}"


def _public_forms(signer: Signer) -> set[str]:
    """The p= values that are this key: RFC 6376 §3.6.1 speaks of PKCS#1, everybody publishes PKCS#8's."""
    forms = {record_text(signer).rpartition("p=")[2].rstrip("=")}
    if isinstance(signer.key, RSAPrivateKey):
        octets = signer.key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
        forms.add(base64.b64encode(octets).decode().rstrip("="))
    return forms


def public_record_matches(record: str, signer: Signer) -> str | None:
    """None when the published text fits the key, else what is wrong with it and what to do. `record` is
    the TXT record's strings joined with nothing between."""
    pairs = [part.partition("=") for part in record.split(";") if part.strip()]
    tags = {name.strip(): re.sub(r"\s+", "", value) for name, _, value in pairs}
    if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and pairs[0][0].strip() != "v"):
        return "it is no DKIM record: v=DKIM1 must come first"
    if "p" not in tags:
        return "it has no p= tag; publish the record that relay dkim show prints"
    if not tags["p"]:
        return "its p= is empty: the key is revoked; publish it again or make a new selector"
    if tags.get("k", "rsa") != signer.algorithm:
        return f"it says k={tags.get('k', 'rsa')}, the key is {signer.algorithm}"
    if tags["p"].rstrip("=") not in _public_forms(signer):
        return "its p= is another key's; publish the record that relay dkim show prints"
    if "sha256" not in tags.get("h", "sha256").split(":"):
        return f"its h={tags['h']} does not allow sha256; remove h="
    if not {"*", "email"} & set(tags.get("s", "*").split(":")):
        return f"its s={tags['s']} does not allow email; remove s="
    if "y" in tags.get("t", "").split(":"):
        return "it has t=y: verifiers treat the mail as unsigned while testing; remove t=y"
    return None
