"""The command line as a whole: exit codes, one clear line for every failure."""

import json
import subprocess
import sys

import pytest

from relay.cli.app import app, run_app
from relay.cli.failure import Misused
from relay.cli.selection import select

CONFIG = """
hostname: relay.example.com
data: .
policies: policies
listeners:
  apps: {bind: "127.0.0.1:2525", networks: [127.0.0.0/8]}
delivery: {mode: sandbox}
"""
POLICY = """
streams:
  transactional:
    pool: main
    retry: {after: [1m], then: 1h, expire: 24h}
pools:
  main: {sources: [{name: s1}]}
routes:
  - {name: everything, stream: transactional}
providers:
  everyone: {mx: ["*"], per_source: {connections: 5, messages_per_connection: 50}}
tests:
  - name: all of it
    given: {sender: a@example.com, recipients: [b@example.org]}
    expect: {stream: transactional}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.delenv("RELAY_CONFIG", raising=False)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "all.yaml").write_text(POLICY)
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIG)
    return path


def run(*words):
    return run_app([str(word) for word in words])


def commands(group=app, prefix=""):
    """Every command, as it is typed."""
    for command in group.registered_commands:
        yield f"{prefix}{command.name}"
    for nested in group.registered_groups:
        yield from commands(nested.typer_instance, f"{prefix}{nested.typer_instance.info.name} ")


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_has_help(command, capsys):
    assert run(*command.split(), "--help") == 0
    text = capsys.readouterr().out
    assert f"Usage: relay {command}" in text
    assert len(text.splitlines()) > 4


def test_help_and_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("relay ")
    assert run("--help") == 0


def test_wrong_usage_is_2(capsys):
    assert run("queue", "lst") == 2
    assert "list" in capsys.readouterr().err
    assert run("queue", "list", "--strem", "x") == 2
    assert "--stream" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["queue list", "status", "stream list", "sandbox list", "explain example.org"])
def test_without_a_running_relay(words, config, capsys):
    assert run(*words.split(), "--config", config) == 1
    error = capsys.readouterr().err
    assert error.startswith("relay: no relay is running here (no socket at ")
    assert "relay serve" in error
    assert error.count("\n") == 1


def test_a_config_that_is_not_there(tmp_path, capsys):
    assert run("check", "--config", tmp_path / "none.yaml") == 1
    assert "none.yaml" in capsys.readouterr().err


def test_no_config_anywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELAY_CONFIG", raising=False)
    monkeypatch.setattr("relay.cli.place.DEFAULTS", (tmp_path / "a.yaml", tmp_path / "b.yaml"))
    assert run("check") == 1
    assert "a.yaml or " in capsys.readouterr().err


def test_check_a_good_config(config, capsys):
    assert run("check", config) == 0
    assert "all is well" in capsys.readouterr().out


def test_check_tells_every_error_at_once(config, capsys):
    config.write_text(CONFIG.replace("mode: sandbox", "mode: sandbx").replace("127.0.0.1:2525", "2525"))
    assert run("check", config) == 1
    error = capsys.readouterr().err
    assert "sandbox" in error
    assert ":6:" in error
    assert "2 problems" in error


def test_check_as_json(config, capsys):
    config.write_text(CONFIG + "listenrs: {}\n")
    assert run("check", config, "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["problems"][0]["line"] == 8


def test_policy_test(config, capsys):
    assert run("policy", "test", "--config", config) == 0
    out = capsys.readouterr().out
    assert "ok     all.yaml:" in out
    assert "1 passed, 0 failed" in out


def test_policy_test_that_fails(config, capsys):
    policy = config.parent / "policies" / "all.yaml"
    policy.write_text(POLICY.replace("expect: {stream: transactional}", "expect: {stream: transactional, held: true}"))
    assert run("policy", "test", "--policies", policy.parent) == 1
    out = capsys.readouterr().out
    assert "FAILED all.yaml:" in out
    assert "0 passed, 1 failed" in out


def test_policy_explain(config, tmp_path, capsys):
    mail = tmp_path / "m.eml"
    mail.write_text("From: Shop <shop@example.com>\nTo: you@example.org\nX-Relay-Stream: nope\n\nx\n")
    assert run("policy", "explain", mail, "--config", config) == 0
    assert "stream transactional (all.yaml:" in capsys.readouterr().out
    assert run("policy", "explain", mail, "--config", config, "--json") == 0
    assert json.loads(capsys.readouterr().out)["route"] == "everything"


def test_policy_explain_with_what_does_not_exist(config, tmp_path, capsys):
    mail = tmp_path / "m.eml"
    mail.write_text("\n")
    assert run("policy", "explain", mail, "--config", config, "--listener", "x") == 2
    assert "there are: apps" in capsys.readouterr().err
    assert run("policy", "explain", mail, "--config", config, "--client", "here") == 2
    assert run("policy", "explain", tmp_path / "none.eml", "--config", config) == 1


def test_queue_changes_want_to_be_told_what(config, capsys):
    for words in ("queue cancel", "queue hold --all --stream x", "queue release 06a --all"):
        assert run(*words.split(), "--config", config) == 2
        assert "--all" in capsys.readouterr().err


def test_send_wants_a_recipient(config, capsys):
    assert run("send", "--config", config) == 2
    assert "--to" in capsys.readouterr().err


def test_send_to_a_relay_that_is_not_there(config, capsys):
    config.write_text(CONFIG.replace(":2525", ":9"))
    assert run("send", "--to", "you@example.org", "--config", config) == 1
    assert "no relay answers at 127.0.0.1:9" in capsys.readouterr().err


def test_events_without_a_log(config, capsys):
    assert run("events", "tail", "--config", config) == 1
    assert "no event log" in capsys.readouterr().err


def test_selection():
    assert select(None, stream=None).everything
    chosen = select(["06a", "06b"], domain="example.*", older_than="1h")
    assert chosen.by_id
    assert chosen.filters == (
        {"message": "06a", "domain": "example.*", "older_than_s": "3600.0"},
        {"message": "06b", "domain": "example.*", "older_than_s": "3600.0"},
    )
    for wrong in ({"state": "gone"}, {"tag": "x"}, {"older_than": "soon"}):
        with pytest.raises(Misused):
            select(None, **wrong)


@pytest.mark.parametrize("words", [["serve", "--cnfig", "x"], ["serve", "--config", "/nowhere.yaml"]])
def test_serve_told_wrongly(words, monkeypatch, capsys):
    from relay.cli.serve import run_serve

    monkeypatch.delenv("RELAY_CONFIG", raising=False)
    code = run_serve(words[1:])
    assert code == (2 if words[1] == "--cnfig" else 1)
    assert capsys.readouterr().err.startswith("relay: ")


def test_sendmail_and_serve_do_not_load_the_terminals_libraries():
    """They start for every mail of a cron job, and stay for months."""
    code = "import sys, relay.__main__, relay.cli.serve, relay.cli.sendmail; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"typer", "rich", "pydantic", "aiohttp"} & set(loaded)


def test_it_is_sendmail_under_that_name(monkeypatch, capsys):
    from relay.__main__ import main

    monkeypatch.setattr(sys, "argv", ["/usr/sbin/sendmail", "-bp"])
    assert main() == 64
    assert "relay queue list" in capsys.readouterr().err
