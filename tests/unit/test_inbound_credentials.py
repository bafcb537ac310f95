"""The credentials file: read strictly, written whole, passwords nowhere in it."""

from __future__ import annotations

import stat
from ipaddress import ip_network
from pathlib import Path

import pytest

from relay.core.quota import Pace
from relay.inbound.credentials import (
    Credential,
    dump_credentials,
    hash_password,
    load_credentials,
    new_password,
    parse_credentials,
    save_credentials,
    verify,
)

HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA"
GOOD = f"""
shop:
  hash: "{HASH}"
  senders: ["*@shop.example.com"]
  streams: [transactional, marketing]
  networks: [10.0.5.0/24, "2001:db8::/32"]
  note: web shop
  created: 2026-11-21
"""


def problems(text: str) -> list[str]:
    return [str(problem) for problem in parse_credentials(text, "c.yaml")[1]]


def test_a_good_file() -> None:
    found, wrong = parse_credentials(GOOD, "c.yaml")
    assert wrong == []
    assert found == {
        "shop": Credential(
            "shop", HASH, ("*@shop.example.com",), "", ("transactional", "marketing"),
            (ip_network("10.0.5.0/24"), ip_network("2001:db8::/32")), "web shop", "2026-11-21",
        )
    }  # fmt: skip
    assert parse_credentials(dump_credentials(found), "c.yaml") == (found, [])


def test_limits() -> None:
    found, wrong = parse_credentials(f"shop: {{hash: '{HASH}', rate: 100/min, daily: 20000}}\n", "c.yaml")
    assert wrong == []
    assert (found["shop"].rate, found["shop"].daily) == (Pace(100, 60), 20_000)
    assert parse_credentials(dump_credentials(found), "c.yaml") == (found, [])


def test_an_empty_file_has_no_accounts() -> None:
    assert parse_credentials("", "c.yaml") == ({}, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "c.yaml:1:1: the file must be a mapping"),
        ("a: [\n", "c.yaml:2:1: "),
        ("shop: x\n", "c.yaml:1:7: shop must be a mapping"),
        (f"shop:\n  hash: '{HASH}'\n  pasword: x\n", "c.yaml:3:3: shop: unknown key 'pasword' (one of hash,"),
        ("shop:\n  hash: secret\n", "c.yaml:2:9: shop: hash must be an argon2id hash (relay credential add"),
        ("shop: {}\n", "c.yaml:1:1: shop: hash must be"),
        (f"shop: &a\n  hash: '{HASH}'\nb: *a\n", "c.yaml:1:1: aliases"),
        (f"shop: {{hash: '{HASH}', senders: []}}\n", "c.yaml:1:"),
        (f"shop: {{hash: '{HASH}', senders: x}}\n", "senders must be a list"),
        (f"shop: {{hash: '{HASH}', senders: ['~(((']}}\n", "senders: "),
        (f"shop: {{hash: '{HASH}', note: [x]}}\n", "note must be one text"),
        (f"shop: {{hash: '{HASH}', networks: [10.0.0.0/99]}}\n", "'10.0.0.0/99' is not a network"),
        (f"shop: {{hash: '{HASH}', stream: a, streams: [b]}}\n", "give stream or streams, not both"),
        (f"shop: {{hash: '{HASH}', rate: often}}\n", "rate: `often` is no pace (write whole numbers like 10/s,"),
        (f"shop: {{hash: '{HASH}', rate: [1]}}\n", "rate must be one text"),
        (f"shop: {{hash: '{HASH}', daily: many}}\n", "daily: 'many' is no number of recipients (daily: 20000)"),
        (f"shop: {{hash: '{HASH}', daily: 0}}\n", "daily: '0' is no number of recipients"),
        (f"shop: {{hash: '{HASH}', send_ahead: 7}}\n", "send_ahead: `7` is no duration; write a number and its unit"),
        (f"'sh op': {{hash: '{HASH}'}}\n", "bad name 'sh op'"),
        (f"[a]: {{hash: '{HASH}'}}\n", "key: must be a plain word"),
        (f"a: {{hash: '{HASH}', hash: '{HASH}'}}\n", "hash: given twice"),
        (f"a: {{hash: '{HASH}'}}\na: {{hash: '{HASH}'}}\n", "c.yaml:2:1: a: given twice"),
        ("# " + "x" * 10_000_001, "file is larger"),
    ],
)
def test_every_mistake_has_its_place(text: str, message: str) -> None:
    assert any(message in problem for problem in problems(text)), problems(text)


def test_all_problems_come_at_once_and_good_entries_stay() -> None:
    found, wrong = parse_credentials(GOOD + "a: {}\nb: {hash: x}\n", "c.yaml")
    assert list(found) == ["shop"]
    assert len(wrong) == 2


def test_words_that_yaml_would_read_as_something_else_stay_words() -> None:
    found, wrong = parse_credentials(f"no:\n  hash: '{HASH}'\n  note: 012\n", "c.yaml")
    assert not wrong
    assert found["no"].note == "012"


def test_hashes() -> None:
    hashed = hash_password("sesame")
    assert hashed.startswith("$argon2id$")
    assert verify(hashed, "sesame")
    assert not verify(hashed, "Sesame")
    assert not verify("$argon2id$broken", "sesame")
    assert len(new_password()) == 32
    assert new_password() != new_password()


def test_a_hash_is_never_shown() -> None:
    assert "argon2" not in repr(Credential("shop", HASH))


def test_the_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "credentials.yaml"
    found, _ = parse_credentials(GOOD, "c.yaml")
    save_credentials(str(path), {})
    save_credentials(str(path), found)
    assert load_credentials(str(path)) == (found, [])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["credentials.yaml"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "credentials.yaml"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        save_credentials(str(path), {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["credentials.yaml"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert load_credentials(str(tmp_path / "none.yaml")) == ({}, [])
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\xff")
    assert "cannot be read" in str(load_credentials(str(tmp_path / "bad.yaml"))[1][0])
