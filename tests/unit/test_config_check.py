"""`relay check`: keys, credentials and certificates, all at once."""
# ruff: noqa: E501 - tables of messages as people see them

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from relay.config.check import check_all
from relay.inbound.credentials import hash_password

ROOT = Path(__file__).parents[2]
HASH = hash_password("open sesame")
NOW = datetime(2026, 11, 21, tzinfo=UTC)
CONFIG = """
hostname: relay.example.com
data: data
policies: policies
listeners: {apps: {bind: "127.0.0.1:2525", networks: [127.0.0.0/8]}}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "policies").mkdir()
    for path in (ROOT / "policies").glob("*.yaml"):
        (tmp_path / "policies" / path.name).write_text(path.read_text())
    (tmp_path / "data/dkim/example.com").mkdir(parents=True)
    write(tmp_path / "relay.yaml", CONFIG.encode())
    return tmp_path


def write(path, data, mode=0o600):
    path.write_bytes(data)
    path.chmod(mode)


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate(key, ends):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.example.com")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - timedelta(days=90)).not_valid_after(ends)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def told(folder):
    return [one for one in all_told(folder) if "no listener takes complaints" not in one]


def all_told(folder):
    report = check_all(folder / "relay.yaml", now=NOW)
    assert report.ok is not bool(report.problems)
    return [str(one).replace(f"{folder}/", "") for one in (*report.problems, *report.notes)]


def test_a_brake_on_complaints_wants_somebody_who_hears_them(folder):
    [said] = [one for one in all_told(folder) if "complaints" in one]
    assert re.match(r"streams\.yaml:\d+:1: this brake counts nothing: no listener takes complaints", said)
    assert "(add `bounces: {bind:" in said
    with_ears = CONFIG.replace("listeners: {", 'listeners: {bounces: {bind: "127.0.0.1:2625", accepts: bounces}, ')
    write(folder / "relay.yaml", with_ears.encode())
    assert [one for one in all_told(folder) if "complaints" in one] == []


def test_a_config_that_cannot_be_read_is_all_that_is_told(folder):
    (folder / "relay.yaml").unlink()
    report = check_all(folder / "relay.yaml")
    assert not report.ok
    assert (report.config, report.policy) == (None, None)


def test_a_wrong_config_does_not_hide_wrong_policies(folder):
    with (folder / "relay.yaml").open("a") as file:
        file.write("hostnam: x\n")
    (folder / "policies/routes.yaml").write_text("routs: []\n")
    assert [one.split(" (")[0] for one in told(folder)] == [
        "relay.yaml:6:1: unknown key `hostnam`",
        "policies: no file has `routes:`",
        "routes.yaml:1:1: unknown section `routs`",
    ]
    write(folder / "relay.yaml", b"policies: 5\n")
    assert not any("routs" in one for one in told(folder))


def test_no_key_is_a_note_unless_it_is_required(folder):
    report = check_all(folder / "relay.yaml")
    assert report.ok
    assert "no DKIM key for any From domain, selector `r1`" in report.notes[0].message
    streams = folder / "policies/streams.yaml"
    streams.write_text(streams.read_text().replace("{domain: from, selector: r1}", "{domain: from, selector: r1, required: true}"))
    assert not check_all(folder / "relay.yaml").ok
    streams.write_text(streams.read_text().replace("domain: from, selector: r1,", "domain: example.com, selector: r1,"))
    assert any("no DKIM key for example.com, selector `r1`" in one for one in told(folder))


def test_keys(folder):
    keys = folder / "data/dkim/example.com"
    write(keys / "r1.pem", pem(rsa.generate_private_key(65537, 2048)))
    write(keys / "r1e.pem", pem(ed25519.Ed25519PrivateKey.generate()))
    assert told(folder) == []
    write(keys / "r1.pem", pem(ed25519.Ed25519PrivateKey.generate()), 0o644)
    write(keys / "r1e.pem", b"nothing")
    assert told(folder) == [
        "data/dkim/example.com/r1.pem: the key is not an rsa key, as the stream's `algorithm:` says"
        " (see `relay dkim generate`)",
        "data/dkim/example.com/r1e.pem: not a private key in PEM form without password (see `relay dkim generate`)",
    ]
    write(keys / "r1e.pem", pem(ed25519.Ed25519PrivateKey.generate()), 0o644)
    assert any("every user may read it (mode 644) (chmod 640" in one for one in told(folder))


def test_a_key_named_by_the_policy(folder):
    streams = folder / "policies/streams.yaml"
    text = streams.read_text().replace("selector: r1}", "selector: r1, key: {file: k.pem}}")
    streams.write_text(text)
    assert any("looked for policies/k.pem" in one for one in told(folder))
    write(folder / "policies/k.pem", pem(rsa.generate_private_key(65537, 1024)))
    assert not any("k.pem" in one for one in told(folder))


def test_credentials(folder):
    with (folder / "relay.yaml").open("a") as file:
        file.write("credentials: accounts.yaml\n")
    assert told(folder)[0].startswith("relay.yaml:6:1: there is no file accounts.yaml (create it,")
    write(folder / "accounts.yaml", f"shop: {{hash: '{HASH}'}}\n".encode())
    assert check_all(folder / "relay.yaml").ok
    assert set(check_all(folder / "relay.yaml").credentials) == {"shop"}
    routes = folder / "policies/routes.yaml"
    routes.write_text(routes.read_text().replace('{sender: "*@news.*"}', "{credential: shp}"))
    assert "no credential is called `shp` (did you mean `shop`?" in told(folder)[0]
    write(folder / "accounts.yaml", b"shop: {}\n")
    assert told(folder)[0].startswith("accounts.yaml:1:1: shop: hash must be an argon2id hash")


def test_streams_of_credentials_must_be_there(folder):
    with (folder / "relay.yaml").open("a") as file:
        file.write("credentials: accounts.yaml\n")
    text = f"""
shop: {{hash: '{HASH}', stream: transactionl}}
crm:
  hash: '{HASH}'
  streams: [marketing, bulk]
"""
    write(folder / "accounts.yaml", text.encode())
    problems = [one for one in told(folder) if one.startswith("accounts")]
    assert [one.partition(" (")[0] for one in problems] == [
        f"accounts.yaml:2:{text.splitlines()[1].index('transactionl') + 1}: shop: there is no stream `transactionl`",
        "accounts.yaml:5:24: crm: there is no stream `bulk`",
    ]
    assert "did you mean `transactional`?" in problems[0]


def test_passwords_in_clear_text_are_a_note(folder):
    write(folder / "accounts.yaml", b"")
    text = CONFIG.replace("networks:", "profile: legacy, networks:") + "credentials: accounts.yaml\n"
    write(folder / "relay.yaml", text.encode())
    assert check_all(folder / "relay.yaml").ok
    clear = "relay.yaml:5:13: listener `apps` takes passwords in clear text"
    assert any(one.startswith(clear) for one in told(folder))
    write(folder / "relay.yaml", text.replace("profile: legacy", "auth_clear: false, profile: legacy").encode())
    assert not any("clear text" in one for one in told(folder))
    write(folder / "relay.yaml", text.replace("profile: legacy", "auth_clear: true").encode())
    assert any(one.startswith(clear) for one in told(folder))
    write(folder / "relay.yaml", text.replace("profile: legacy", "auth: none, auth_clear: true").encode())
    assert not any("clear text" in one for one in told(folder))


@pytest.mark.parametrize(
    ("days", "other_key", "says"),
    [
        (90, False, []),
        (10, False, ["relay.yaml:6:7: c.pem expires on 2026-12-01 (renew it)"]),
        (-1, True, [
            "relay.yaml:6:7: c.pem expired on 2026-11-20 (certificate chain and key must be PEM and a pair)",
            "relay.yaml:6:27: k.pem does not belong to the certificate (certificate chain and key must be PEM and a pair)",
        ]),
    ],
)  # fmt: skip
def test_certificates(folder, days, other_key, says):
    tls(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    write(folder / "c.pem", certificate(key, NOW + timedelta(days=days)))
    write(folder / "k.pem", pem(ec.generate_private_key(ec.SECP256R1()) if other_key else key))
    assert [one for one in told(folder) if "DKIM" not in one] == says


def test_certificates_that_are_none(folder):
    tls(folder)
    assert "relay.yaml:6:7: c.pem cannot be read: No such file or directory" in told(folder)[0]
    write(folder / "c.pem", certificate(ec.generate_private_key(ec.SECP256R1()), NOW))
    write(folder / "k.pem", b"nothing")
    assert "relay.yaml:6:27: k.pem cannot be read: it is not PEM" in told(folder)[0]


def tls(folder):
    with (folder / "relay.yaml").open("a") as file:
        file.write("tls: {certificate: c.pem, key: k.pem}\n")
