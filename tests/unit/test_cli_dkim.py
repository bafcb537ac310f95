"""relay dkim and relay credential: files made, read, and never spoiled."""

import io
import json
import stat

import pytest

from relay.cli.app import run_app

CONFIG = """
hostname: relay.example.com
data: data
policies: policies
credentials: credentials.yaml
listeners:
  apps: {bind: "127.0.0.1:2525", networks: [127.0.0.0/8]}
"""


@pytest.fixture
def relay(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "relay.yaml").write_text(CONFIG)
    monkeypatch.setenv("RELAY_CONFIG", str(tmp_path / "relay.yaml"))

    def run(*words, typed=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = run_app(list(words))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_a_key_is_made_where_the_relay_looks(relay, tmp_path):
    code, text = relay("dkim", "generate", "example.com", "r1e", "--algorithm", "ed25519")
    assert code == 0
    key = tmp_path / "data" / "dkim" / "example.com" / "r1e.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert 'r1e._domainkey.example.com. IN TXT "v=DKIM1; k=ed25519; ' in text
    assert relay("dkim", "show", "example.com")[1] in text


def test_a_key_is_never_replaced(relay, tmp_path):
    relay("dkim", "generate", "example.com", "r1e", "--algorithm", "ed25519")
    key = tmp_path / "data" / "dkim" / "example.com" / "r1e.pem"
    before = key.read_bytes()
    code, text = relay("dkim", "generate", "example.com", "r1e")
    assert code == 1
    assert "relay dkim show example.com r1e" in text
    assert key.read_bytes() == before


def test_every_key_of_a_domain_is_shown(relay):
    relay("dkim", "generate", "example.com", "b", "--algorithm", "ed25519")
    relay("dkim", "generate", "example.com", "a", "--algorithm", "rsa")
    code, text = relay("dkim", "show", "example.com", "--json")
    assert code == 0
    assert [(one["selector"], one["algorithm"]) for one in json.loads(text)] == [("a", "rsa"), ("b", "ed25519")]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("dkim generate ../../etc r1", 2, "no name for a key"),
        ("dkim generate example.com r/1", 2, "no name for a key"),
        ("dkim generate example.com r1 --algorithm dsa", 2, "ed25519"),
        ("dkim show example.org", 1, "relay dkim generate example.org"),
        ("dkim show example.com r9", 1, "r9.pem"),
    ],
)
def test_what_cannot_be_is_said(relay, words, code, said):
    got, text = relay(*words.split())
    assert got == code
    assert said in text


def test_a_credential_is_added_checked_listed_removed(relay, tmp_path):
    code, text = relay("credential", "add", "shop", "--senders", "*@shop.example", "--stream", "transactional")
    assert code == 0
    password = text.partition("password  ")[2].split()[0]
    file = tmp_path / "credentials.yaml"
    assert password not in file.read_text()
    assert "$argon2id$" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) & 0o007 == 0
    assert relay("credential", "check", "shop", "--password-file", "-", typed=f"{password}\n")[0] == 0
    assert relay("credential", "check", "shop", "--password-file", "-", typed="wrong\n")[0] == 1
    code, text = relay("credential", "list")
    assert "*@shop.example" in text
    assert "argon2" not in text
    assert relay("credential", "remove", "shop")[0] == 2
    assert relay("credential", "remove", "shop", "--yes")[0] == 0
    assert "no accounts" in relay("credential", "list")[1]


def test_a_given_password_is_taken_and_not_shown(relay, tmp_path):
    (tmp_path / "password").write_text("correct horse\n")
    code, text = relay("credential", "add", "shop", "--password-file", str(tmp_path / "password"))
    assert code == 0
    assert "correct horse" not in text
    assert relay("credential", "check", "shop", "--password-file", str(tmp_path / "password"))[0] == 0


def test_the_files_mode_stays(relay, tmp_path):
    relay("credential", "add", "one")
    (tmp_path / "credentials.yaml").chmod(0o600)
    relay("credential", "add", "two")
    assert stat.S_IMODE((tmp_path / "credentials.yaml").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("credential add a/b", 2, "no account name"),
        ("credential add x --network 10.0.0.0/99", 2, "10.0.5.0/24"),
        ("credential add x --stream a --may-choose b", 2, "not both"),
        ("credential remove none --yes", 1, "no account none"),
        ("credential check none --password-file -", 1, "no account none"),
    ],
)
def test_wrong_credentials(relay, words, code, said):
    got, text = relay(*words.split())
    assert got == code
    assert said in text


def test_an_account_is_not_replaced(relay):
    relay("credential", "add", "shop")
    code, text = relay("credential", "add", "shop")
    assert code == 1
    assert "already" in text


def test_a_file_with_errors_is_left_alone(relay, tmp_path):
    file = tmp_path / "credentials.yaml"
    file.write_text("shop: {hsh: x}\n")
    code, text = relay("credential", "add", "two")
    assert code == 1
    assert "credentials.yaml:1:" in text
    assert file.read_text() == "shop: {hsh: x}\n"


def test_a_config_without_credentials(relay, tmp_path):
    (tmp_path / "relay.yaml").write_text(CONFIG.replace("credentials: credentials.yaml\n", ""))
    code, text = relay("credential", "list")
    assert code == 1
    assert "names no credentials file" in text


def test_the_quickstarts_config_is_found_in_a_checkout(relay, tmp_path, monkeypatch):
    monkeypatch.delenv("RELAY_CONFIG")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("relay.cli.place.DEFAULTS", (tmp_path / "none.yaml",))
    (tmp_path / "config").mkdir()
    (tmp_path / "relay.yaml").rename(tmp_path / "config" / "quickstart.yaml")
    assert relay("credential", "list")[0] == 0
