"""DKIM keys: found, refused with a reason, made, published."""

import base64
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from relay.prepare.keys import (
    MAX_REMEMBERED,
    KeyRing,
    dns_record,
    generate,
    public_record_matches,
    read_key,
    record_text,
)


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Entry:
    domain: str
    selector: str
    algorithm: str = "rsa"
    key: str = ""


def pem(key, form=PrivateFormat.PKCS8, encryption=None) -> bytes:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def put(directory: Path, domain: str, selector: str, data: bytes, mode: int = 0o600) -> Path:
    path = directory / domain / f"{selector}.pem"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_a_made_key_is_found(tmp_path, algorithm):
    path = generate("example.com", "t1", algorithm, tmp_path)
    assert path == tmp_path / "example.com" / "t1.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["t1.pem"]
    found = KeyRing(tmp_path).look("Example.COM", "t1", algorithm)
    assert found.signer is not None
    assert (found.signer.domain, found.signer.algorithm) == ("example.com", algorithm)
    assert (found.problem, found.warnings) == ("", ())


def test_a_key_is_never_replaced(tmp_path):
    before = generate("example.com", "t1", "ed25519", tmp_path).read_bytes()
    with pytest.raises(FileExistsError):
        generate("example.com", "t1", "ed25519", tmp_path)
    assert (tmp_path / "example.com" / "t1.pem").read_bytes() == before
    assert os.listdir(tmp_path / "example.com") == ["t1.pem"]


@pytest.mark.parametrize(
    ("domain", "selector"), [("..", "a"), ("a/b", "s"), ("example.com", "../x"), ("", "s")]
)
def test_a_name_never_leaves_the_directory(tmp_path, domain, selector):
    with pytest.raises(ValueError, match="no name for a key"):
        generate(domain, selector, "ed25519", tmp_path / "keys")
    assert "letters, digits" in KeyRing(tmp_path).look(domain, selector, "rsa").problem
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_every_form_of_rsa_key(tmp_path, rsa_key, form, line_end):
    put(tmp_path, "example.com", "S1", pem(rsa_key, form).replace(b"\n", line_end))
    assert KeyRing(tmp_path).find("example.com", "S1", "rsa") is not None


def test_a_signing_entry_may_name_the_file(tmp_path, rsa_key):
    path = tmp_path / "elsewhere.pem"
    path.write_bytes(pem(rsa_key))
    signer = KeyRing(tmp_path / "keys").find("example.com", "t1", "rsa", str(path))
    assert signer is not None
    assert signer.domain == "example.com"


def bad(tmp_path: Path, data: bytes) -> str:
    found = KeyRing(tmp_path).look(put(tmp_path, "example.com", "t1", data).parent.name, "t1", "rsa")
    assert found.signer is None
    return found.problem


def test_what_is_no_key_is_refused_with_the_remedy(tmp_path, rsa_key):
    assert "relay dkim generate example.com t9" in KeyRing(tmp_path).look("example.com", "t9", "rsa").problem
    assert "no private key in PEM form" in bad(tmp_path, b"hello")
    assert "encrypted" in bad(tmp_path, pem(rsa_key, encryption=BestAvailableEncryption(b"secret")))
    assert "neither an RSA nor an Ed25519" in bad(tmp_path, pem(ec.generate_private_key(ec.SECP256R1())))
    public = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert "no private key" in bad(tmp_path, public)


def test_a_directory_is_no_key(tmp_path):
    (tmp_path / "example.com" / "t1.pem").mkdir(parents=True)
    problem = KeyRing(tmp_path).look("example.com", "t1", "rsa").problem
    assert "directory" in problem
    assert "generate" not in problem


# cryptography will not make keys as short as old ones are: made once with openssl genrsa, used nowhere
SHORT = b"""-----BEGIN RSA PRIVATE KEY-----
MIIBygIBAAJhALoPwvSiI2/o3+WSUUehvxckxMAQttN1JRAjgAs7cbkx3PxomFTm
bB0GQd5fpnkYiwJzu6OFwRdEgBxVrnZ/wTFI4rDiFqf/m1tOWEGsXF9eu3XfdvP4
nsCAcoXpsoL0HQIDAQABAmBvSvhBXi62ROSQLHpDz6M+07aAcD77s0mNIr73eQIo
VYQq0uGzfvTSU6jYu/wW2S9fnabWL6Eg0k1EuoSuT5bpyr0MQgMZWX63D2qQQoLu
Cw3AcXBuUxQvYPALN5+npV0CMQDoCw6qVHxCKJRZ6UdFcqADADn3d6N3KtX1/JHa
3C+f3mJ8AZwSC8vAhAzYlUBmL6cCMQDNRWbbaRvRfQcv6GMwhu8cADfHvkQSO2w4
CwHMUmqxNn1T6eeNmcRFU000276OVpsCMQC4p7v27h6oI1TTLCHscShG2xJGDW4H
Mg5sn56OVTSM+1LSLhG+BqcRP8RdQoCqEPcCMHbi/EiVntP86t23ZUNk0zXPdn8M
VpaMrgfjcB4rmbmbiojATyj25vMT5QJ5RutfgwIwVhIUQTzDuD4Q9PTfIk1Jyr0l
Hsm2KxMw5scWiy/G/GdCyrU0hNI3HGGf1fpcDIYR
-----END RSA PRIVATE KEY-----
"""


def test_the_algorithm_must_be_the_keys(tmp_path):
    generate("example.com", "t1", "ed25519", tmp_path)
    found = KeyRing(tmp_path).look("example.com", "t1", "rsa")
    assert found.signer is None
    assert "set algorithm: ed25519" in found.problem


def test_short_keys(tmp_path):
    assert "RFC 8301" in bad(tmp_path, SHORT)
    found = read_key(put(tmp_path, "example.com", "t1", pem(rsa.generate_private_key(65537, 1024))), "d", "s")
    assert found.signer is not None
    assert "1024 bits" in found.warnings[0]


def test_a_key_others_can_read_is_reported(tmp_path, rsa_key):
    path = put(tmp_path, "example.com", "t1", pem(rsa_key), mode=0o640)
    [warning] = KeyRing(tmp_path).look("example.com", "t1", "rsa").warnings
    assert warning == f"{path} may be read by others (mode 0640); chmod 600 it"


def test_found_and_missing_keys_are_remembered_until_the_next_reload(tmp_path):
    ring = KeyRing(tmp_path)
    assert ring.find("example.com", "t1", "ed25519") is None
    path = generate("example.com", "t1", "ed25519", tmp_path)
    assert ring.find("example.com", "t1", "ed25519") is None
    ring.refresh()
    signer = ring.find("example.com", "t1", "ed25519")
    path.unlink()
    assert ring.find("example.com", "t1", "ed25519") is signer is not None
    ring.refresh()
    assert ring.find("example.com", "t1", "ed25519") is None


def test_memory_is_bounded(tmp_path):
    ring = KeyRing(tmp_path)
    for number in range(MAX_REMEMBERED + 5):
        ring.find(f"{number}.example", "!", "rsa")
    assert len(ring._found) <= MAX_REMEMBERED
    for number in range(MAX_REMEMBERED + 5):
        ring.signers([Entry("from", "!")], f"{number}.example")
    assert len(ring._found) <= MAX_REMEMBERED
    assert len(ring._chosen) <= MAX_REMEMBERED


def test_from_aligns_with_the_nearest_parent_that_has_a_key(tmp_path):
    generate("example.com", "t1", "ed25519", tmp_path)
    generate("shop.example.com", "t1", "ed25519", tmp_path)
    generate("com", "t1", "ed25519", tmp_path)
    ring = KeyRing(tmp_path)

    def domain(of: str, selector: str = "t1") -> str:
        signer = ring.aligned(of, selector, "ed25519")
        return signer.domain if signer else ""

    assert domain("mail.shop.example.com") == "shop.example.com"
    assert domain("Example.com") == "example.com"
    assert domain("other.example.com") == "example.com"
    assert domain("example.org") == domain("evil.com") == domain("") == ""
    assert domain("com") == "com"  # exactly asked for, and there
    assert domain("example.com", "t2") == ""


def test_a_streams_entries(tmp_path):
    generate("example.com", "t1", "ed25519", tmp_path)
    generate("news.example.com", "m1", "ed25519", tmp_path)
    entries = [
        Entry("from", "t1", "ed25519"),
        Entry("news.example.com", "m1", "ed25519"),
        Entry("from", "t9"),
    ]
    ring = KeyRing(tmp_path)
    assert [s.domain for s in ring.signers(entries, "shop.example.com")] == [
        "example.com",
        "news.example.com",
    ]
    [problem] = ring.missing(entries, "shop.example.com")
    assert "shop.example.com/t9.pem: No such file" in problem
    assert "relay dkim generate shop.example.com t9" in problem
    assert [s.domain for s in ring.signers(entries, "example.org")] == ["news.example.com"]
    assert ring.signers((), "example.com") == ()
    generate("shop.example.com", "t9", "ed25519", tmp_path)
    assert len(ring.signers([Entry("from", "t9", "ed25519")], "shop.example.com")) == 0  # looked for before
    ring.refresh()
    assert len(ring.signers([Entry("from", "t9", "ed25519")], "shop.example.com")) == 1


def test_from_with_a_named_file_signs_as_the_from_domain(tmp_path):
    path = generate("example.com", "t1", "ed25519", tmp_path)
    [signer] = KeyRing(tmp_path).signers([Entry("from", "x", "ed25519", str(path))], "shop.example.org")
    assert signer.domain == "shop.example.org"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Two signers and what their records say."""
    directory = tmp_path_factory.mktemp("keys")
    for algorithm, selector in (("rsa", "t1"), ("ed25519", "t1e")):
        generate("example.com", selector, algorithm, directory)
    ring = KeyRing(directory)
    return [ring.find("example.com", "t1", "rsa"), ring.find("example.com", "t1e", "ed25519")]


def test_the_zone_file_line(published):
    rsa_line, ed_line = map(dns_record, published)
    assert rsa_line.startswith('t1._domainkey.example.com. IN TXT ( "v=DKIM1; k=rsa; h=sha256; p=')
    strings = rsa_line.split('"')[1::2]
    assert max(map(len, strings)) == 255
    assert "".join(strings) == record_text(published[0])
    assert ed_line == f't1e._domainkey.example.com. IN TXT "{record_text(published[1])}"'
    assert len(base64.b64decode(ed_line.rstrip('"').rpartition("p=")[2])) == 32


def test_what_is_published_is_compared(published):
    key, ed = published
    text = record_text(key)
    p = text.rpartition("p=")[2]
    pkcs1 = key.key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    for good in (
        text,
        f"p={p}",
        f"v=DKIM1;p= {p[:50]} {p[50:]} ; t=s;s=email:x;",
        text.replace("h=sha256; ", ""),
    ):
        assert public_record_matches(good, key) is None
    assert public_record_matches(f"p={base64.b64encode(pkcs1).decode()}", key) is None
    assert public_record_matches(record_text(ed), ed) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: "v=spf1 -all", "no DKIM record"),
        (lambda t: t.replace("v=DKIM1; ", "") + "; v=DKIM1", "must come first"),
        (lambda t: "v=DKIM1; k=rsa", "no p= tag"),
        (lambda t: t.partition("p=")[0] + "p=", "revoked"),
        (lambda t: t.replace("k=rsa", "k=ed25519"), "it says k=ed25519, the key is rsa"),
        (lambda t: t.replace("p=MII", "p=MIJ"), "another key's"),
        (lambda t: t.replace("sha256", "sha1"), "does not allow sha256"),
        (lambda t: t + "; s=tlsrpt", "does not allow email"),
        (lambda t: t + "; t=y", "remove t=y"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(published, change, problem):
    assert problem in public_record_matches(change(record_text(published[0])), published[0])


def test_a_dsa_key_is_none(tmp_path):
    assert "neither" in bad(tmp_path, pem(dsa.generate_private_key(2048)))
