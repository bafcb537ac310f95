"""The config file: what it means, and every mistake in it with its place and remedy."""
# ruff: noqa: E501 - tables of messages as people see them

import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from relay.config.model import usual_fronts
from relay.config.read import load_config, load_policies, policy_files
from relay.inbound.settings import ListenerSettings
from relay.policy.quantities import Endpoint
from relay.service.settings import delivery_settings
from relay.smtp.timeouts import Timeouts

ROOT = Path(__file__).parents[2]
GOOD = """
hostname: Relay.Example.COM
data: data
policies: policies
listeners:
  apps: {bind: "127.0.0.1:2525", networks: [127.0.0.0/8]}
"""


def complaints(folder, text):
    file = folder / "relay.yaml"
    file.write_text(text)
    config, problems = load_config(file)
    assert (config is None) is bool(problems)
    return [str(problem).removeprefix(f"{folder}/") for problem in problems]


def config_of(folder, text):
    assert complaints(folder, text) == []
    return load_config(folder / "relay.yaml")[0]


def test_defaults_and_relative_paths(tmp_path):
    config = config_of(tmp_path, GOOD)
    assert config.hostname == "relay.example.com"
    assert config.postmaster == "postmaster@example.com"
    assert config.data == tmp_path / "data"
    assert config.policies == tmp_path / "policies"
    assert config.queue_file == tmp_path / "data/queue.db"
    assert config.control_socket == tmp_path / "data/control.sock"
    assert config.events_dir == tmp_path / "data/events"
    assert config.dkim_key("example.com", "r1") == tmp_path / "data/dkim/example.com/r1.pem"
    assert config.metrics.bind == Endpoint("127.0.0.1", 9125)
    listener = config.listeners["apps"]
    assert (listener.auth, listener.max_message_bytes, listener.idle_timeout_s) == ("none", 50 << 20, 300)
    assert config.file == str(tmp_path / "relay.yaml")
    assert config.place("listeners", "apps", "bind") == (config.file, 6, 10)


def test_a_name_of_two_labels_is_its_own_mail_domain(tmp_path):
    assert config_of(tmp_path, GOOD.replace("Relay.", "")).postmaster == "postmaster@example.com"


def test_with_credentials_listeners_offer_them(tmp_path):
    config = config_of(tmp_path, GOOD + "credentials: c.yaml\n")
    assert config.listeners["apps"].auth == "optional"


def test_written_out(tmp_path):
    text = GOOD + (
        "queue: {url: 'sqlite:///q/x.db'}\ncontrol: {socket: c.sock}\nevents: {dir: ../events}\n"
        "postmaster: me@example.com\ndns: {servers: [192.0.2.1, '[::1]:5353']}\ndrain: 1m\n"
    )
    config = config_of(tmp_path, text)
    assert config.queue_file == tmp_path / "q/x.db"
    assert config.control_socket == tmp_path / "c.sock"
    assert config.events_dir == tmp_path.parent / "events"
    assert config.dns.servers == [Endpoint("192.0.2.1", 53), Endpoint("::1", 5353)]
    assert config.drain_s == 60


def test_settings_do_not_change(tmp_path):
    with pytest.raises(ValidationError):
        config_of(tmp_path, GOOD).hostname = "other.example.com"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("hostnam: x\n", "relay.yaml:7:1: unknown key `hostnam` (did you mean `hostname`? allowed: hostname, data,"),
        ("drain: 30\n", "relay.yaml:7:8: drain: `30` is no duration (write a number and its unit, like 30s, 5m, 2h or 3d)"),
        ("memory_budget: 1k\n", "memory_budget: must be at least 1048576"),
        ("metrics: {bind: 9125}\n", "metrics.bind: `9125` is no host and port"),
        ("queue: {url: 'postgresql://x'}\n", "relay.yaml:7:9: `postgresql://x` is no queue this release has (write sqlite:////"),
        ("queue: {url: 'sqlite:///'}\n", "is no queue this release has"),
        ("postmaster: me\n", "relay.yaml:7:1: `me` is no address"),
        ("metrics: {bind: '127.0.0.1:2525'}\n", "127.0.0.1:2525 is taken by listener `apps` (give each its own"),
        ("delivery: {mode: smarthost}\n", "relay.yaml:7:12: `mode: smarthost` needs its `host:`"),
        ("delivery: {host: 'x:25'}\n", "`host:` is only for `mode: smarthost` (remove it or change `mode:`)"),
        ("delivery: {mode: smarthost, host: x, credential: 'a:b'}\n", "a password must not be sent in clear text (set `tls: required`)"),
        ("delivery: {mode: smarthost, host: x, tls: required, credential: ab}\n", "the credential is not of the form USER:PASSWORD"),
        ("delivery: {credential: {env: RELAY_NO_SUCH}}\n", "the environment has no variable `RELAY_NO_SUCH` (set it, or use {file: PATH})"),
        ("delivery: {credential: {file: none}}\n", "there is no file"),
        ("delivery: {credential: {path: x}}\n", "a secret is text, {file: PATH} or {env: NAME}"),
        ("delivery: {credential: 5}\n", "a secret is text, {file: PATH} or {env: NAME}"),
        ("delivery: {credential: ''}\n", "the secret is empty"),
        ("delivery: {mode: mxx}\n", "delivery.mode: `mxx` is not allowed (did you mean `mx`? allowed: mx, smarthost, sandbox)"),
        ("tls: {certificate: c}\n", "relay.yaml:7:1: `key` is missing in `tls`"),
        ("tls: {certificate: 5, key: k}\n", "`5` is no path"),
        ("dns: {servers: [x y]}\n", "no host and port"),
        ("data: x\n", "`data` is set twice, first on line 3"),
    ],
)
def test_told(tmp_path, more, says):
    found = complaints(tmp_path, GOOD + more)
    assert any(says in complaint for complaint in found), found


@pytest.mark.parametrize(
    ("listener", "says"),
    [
        ("{bind: 'x:1'}", "relay.yaml:6:3: nobody may send through `a` (list its clients in `networks:`, or set"),
        ("{bind: 'x:1', networks: [0.0.0.0/0]}", "0.0.0.0/0 would make this an open relay"),
        ("{bind: 'x:1', networks: ['::/0']}", "::/0 would make this an open relay"),
        ("{bind: 'x:1', networks: [10.0.0.0/8], tls: starttls}", "`tls: starttls` needs a certificate"),
        ("{bind: 'x:1', auth: required}", "`auth: required` needs credentials"),
        ("{bind: 'x:1', networks: [10.0.0.0/8], senders: ['~(']}", "the regular expression does not compile"),
        ("{bind: 'x:1', networks: [10.0.0.0/8], max_recipients: 50}", "max_recipients: must be at least 100, not `50`"),
        ("{bind: 'x:1', networks: [10.0.0.0/8], profile: old}", "`old` is not allowed (did you mean `modern`?" ),
        ("{bind: 'x:1', networks: [10.0.0.0/8], senders: ['*@x'], strem: x}", "unknown key `strem` (did you mean `stream`?"),
        ("7", "listeners.a: must be a mapping of settings, not `7`"),
        ("{bind: 'x:1', networks: [10.0.0.0/8], feedback: [fbl@x]}", "is only for a listener with `accepts: bounces`"),
        ("{bind: 'x:1', accepts: bounces, networks: [10.0.0.0/8]}", "`networks:` is for listeners that take mail, and"),
        ("{bind: 'x:1', accepts: bounces, stream: news}", "`stream:` is for listeners that take mail, and this one"),
        ("{bind: 'x:1', accepts: bounces, feedback: [fbl]}", "`fbl` is no address (write the addresses that feedback"),
        ("{bind: 'x:1', accepts: bounces, feedback: ['a b@x.test']}", "`a b@x.test` is no address"),
        ("{bind: 'x:1', accepts: complaints}", "`complaints` is not allowed"),
    ],
)
def test_listeners(tmp_path, listener, says):
    head = GOOD[: GOOD.index("  apps")]
    found = complaints(tmp_path, head + f"  a: {listener}\n")
    assert any(says.replace("(did you mean `modern`?", "(") in complaint for complaint in found), found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "relay.yaml:1:1: the file is empty"),
        ("- 1\n", "relay.yaml:1:1: must be a mapping of settings, not a list"),
        ("hostname: relay\ndata: d\npolicies: p\nlisteners: {a: {bind: 'x:1', networks: ['::1']}}\n", "relay.yaml:1:1: `relay` is not fully qualified"),
        ("listeners: 5\ncredentials: x\nhostname: 5\n", "listeners: must be a mapping of names to settings, not `5`"),
        ("a: [\n", "relay.yaml:2:1: not YAML"),
    ],
)
def test_whole_files(tmp_path, text, says):
    found = complaints(tmp_path, text)
    assert any(says in complaint for complaint in found), found


def test_files_that_cannot_be_read(tmp_path):
    assert "there is no such file" in str(load_config(tmp_path / "none.yaml")[1][0])
    (tmp_path / "x.yaml").write_bytes(b"a: 1\nb: \xff\n")
    assert str(load_config(tmp_path / "x.yaml")[1][0]).endswith("x.yaml:2:4: not UTF-8 text (save the file as UTF-8)")


def test_secrets_are_read_and_never_shown(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("user:hunter2\n")
    monkeypatch.setenv("RELAY_TEST_SECRET", "user:hunter2")
    for source in ("{file: secret}", "{env: RELAY_TEST_SECRET}", "'user:hunter2'"):
        config = config_of(tmp_path, GOOD + f"delivery: {{mode: smarthost, host: x, tls: required, credential: {source}}}\n")
        assert config.delivery.credential.get_secret_value() == "user:hunter2"
        assert "hunter2" not in repr(config)


@pytest.mark.parametrize(("data", "says"), [(b"", "is empty"), (b"\xff", "not UTF-8"), (b"x" * 70000, "too large")])
def test_secrets_that_are_none(tmp_path, data, says):
    (tmp_path / "secret").write_bytes(data)
    [complaint] = complaints(tmp_path, GOOD + "delivery: {credential: {file: secret}}\n")
    assert says in complaint


def test_no_secret_is_shown_in_a_message(tmp_path):
    for wrong in ("{files: hunter2}", "hunter2"):
        found = complaints(tmp_path, GOOD + f"delivery: {{mode: smarthost, host: x, tls: never, credential: {wrong}}}\n")
        assert found
        assert "hunter2" not in "".join(found)


def test_policies_with_what_the_config_knows(tmp_path):
    text = GOOD.replace("networks: [127.0.0.0/8]", "networks: [127.0.0.0/8], stream: marketin, streams: [transactional, x]")
    config = config_of(tmp_path, text)
    policy, problems = load_policies(ROOT / "policies", config)
    assert policy is None
    assert [str(one).removeprefix(f"{tmp_path}/") for one in problems] == [
        "relay.yaml:6:59: there is no stream `marketin` (did you mean `marketing`? allowed: transactional, marketing)",
        "relay.yaml:6:102: there is no stream `x` (allowed: transactional, marketing)",
    ]


def test_all_files_are_told_at_once(tmp_path):
    for name in ("streams", "routes", "providers"):
        (tmp_path / f"{name}.yaml").write_text((ROOT / f"policies/{name}.yaml").read_text())
    assert load_policies(tmp_path)[1] == []
    (tmp_path / "routes.yaml").write_text("routes: [\n")
    (tmp_path / "more.yml").write_text("stream: {}\n")
    (tmp_path / "none.yaml").write_text("# nothing yet\n")
    policy, problems = load_policies(tmp_path)
    assert policy is None
    assert [problem.file for problem in problems] == ["more.yml", "routes.yaml"]


def test_policy_folders(tmp_path):
    [problem] = policy_files(tmp_path)[1]
    assert "there are no *.yaml files" in problem.message
    [problem] = policy_files(tmp_path / "none")[1]
    assert "cannot be read: No such file" in problem.message
    (tmp_path / "p").mkdir()
    os.symlink("/etc/passwd", tmp_path / "p/x.yaml")
    [problem] = policy_files(tmp_path / "p")[1]
    assert problem.message == "leads out of the policies folder"
    (tmp_path / "p/x.yaml").unlink()
    for number in range(201):
        (tmp_path / f"p/{number}.yaml").touch()
    [problem] = policy_files(tmp_path / "p")[1]
    assert problem.message == "more than 200 files"


def test_links_inside_the_folder_are_followed(tmp_path):
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data/a.yaml").touch()
    os.symlink("..data/a.yaml", tmp_path / "a.yaml")
    assert policy_files(tmp_path) == ([tmp_path / "a.yaml"], [])


@pytest.mark.parametrize(("text", "fronts"), [("0", 0), ("1", 1), ("4", 4), ("64", 64)])
def test_workers_are_the_number_of_fronts(tmp_path, text, fronts):
    assert config_of(tmp_path, GOOD + f"workers: {text}\n").workers == fronts


@pytest.mark.parametrize(("processors", "fronts"), [(1, 0), (2, 0), (3, 3), (4, 4), (96, 8)])
def test_auto_is_one_process_on_two_processors_and_fronts_on_more(processors, fronts):
    assert usual_fronts(processors) == fronts


@pytest.mark.parametrize("text", ["many", "true", "[]", '"0"', "0.5", "-1", "65"])
def test_workers_are_no_words(tmp_path, text):
    [said] = complaints(tmp_path, GOOD + f"workers: {text}\n")
    assert said.endswith("is no number of fronts (allowed: auto, 0 (one process) to 64)")


def test_passwords_need_tls(tmp_path):
    text = GOOD.replace("networks: [127.0.0.0/8]", "auth: required") + "credentials: c.yaml\n"
    [said] = complaints(tmp_path, text)
    assert said.startswith("relay.yaml:6:34: nobody can log in here: passwords are taken only over TLS")
    for clear in ("auth: required, auth_clear: true", "auth: required, profile: legacy"):
        assert config_of(tmp_path, text.replace("auth: required", clear)).listeners["apps"].clear_auth


def test_listeners_settings_have_the_same_defaults_everywhere(tmp_path):
    listener = config_of(tmp_path, GOOD).listeners["apps"]
    plain = {one.name: one.default for one in fields(ListenerSettings)}
    same = plain.keys() & type(listener).model_fields.keys() - {"networks", "senders"}
    assert {"max_connections", "data_timeout_s", "data_min_bytes_per_s", "auth_clear", "session_timeout_s"} <= same
    for name in same:
        assert getattr(listener, name) == plain[name], name
    missing = plain.keys() - same - {"name", "hostname", "networks", "senders", "postmaster"}
    assert missing == {"spill_bytes", "max_header_bytes", "max_idle_commands", "data_grace_s", "tls_handshake_s"}


def test_timeouts_have_units(tmp_path):
    config = config_of(tmp_path, GOOD + "delivery: {timeouts: {dot: 12m, idle: 500ms}}\n")
    timeouts = delivery_settings(config, 0).timeouts
    assert timeouts == replace(Timeouts(), dot_s=720.0, idle_s=0.5)
    [said] = complaints(tmp_path, GOOD + "delivery: {timeouts: {dot: 600}}\n")
    assert "`600` is no duration" in said
