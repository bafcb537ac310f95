"""A reload takes everything but what is opened once; of that it says what waits for a restart."""

from pathlib import Path

import pytest

from relay.config.model import Config
from relay.config.read import load_config
from relay.service.changes import FIXED, in_force, restart_notes
from relay.service.settings import listener_settings

TEXT = """
hostname: relay.example.com
data: data
policies: policies
credentials: accounts.yaml
postmaster: postmaster@example.com
tls: {certificate: c.pem, key: k.pem}
delivery: {mode: smarthost, host: "mail.example.com:587", timeouts: {dot: 5m}}
listeners:
  apps: {bind: "127.0.0.1:2525", networks: [127.0.0.0/8], max_recipients: 100}
  smtps: {bind: "127.0.0.1:4650", tls: implicit, auth: required}
"""


@pytest.fixture
def read(tmp_path: Path):
    def loaded(*changes: tuple[str, str]) -> Config:
        text = TEXT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "relay.yaml").write_text(text)
        config, problems = load_config(tmp_path / "relay.yaml")
        assert problems == []
        return config

    return loaded


def test_the_same_changes_nothing(read):
    running = read()
    config, waiting = in_force(running, read())
    assert config == running
    assert waiting == []
    assert restart_notes(waiting) == []


def test_what_a_listener_does_is_taken(read):
    wanted = read(
        ("networks: [127.0.0.0/8], max_recipients: 100",
         "networks: [10.0.0.0/8], max_recipients: 200, profile: legacy, stream: marketing, senders: ['*@a.example']"),
        ("postmaster@example.com", "ops@example.com"),
        ("accounts.yaml", "others.yaml"),
    )  # fmt: skip
    config, waiting = in_force(read(), wanted)
    assert waiting == []
    settings = listener_settings(config, "apps", config.listeners["apps"])
    assert [str(one) for one in settings.networks] == ["10.0.0.0/8"]
    assert (settings.max_recipients, settings.profile, settings.senders) == (200, "legacy", ("*@a.example",))
    assert settings.postmaster == "ops@example.com"
    assert config.listeners["apps"].stream == "marketing"
    assert config.credentials == wanted.credentials


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (("127.0.0.1:4650", "127.0.0.1:465"), "listeners.smtps.bind"),
        (("networks: [127.0.0.0/8],", "accepts: bounces,"), "listeners.apps.accepts"),
        (("  smtps:", "  secure:"), "listeners.secure (added), listeners.smtps (removed)"),
        (("hostname: relay.", "hostname: other."), "hostname"),
        (("data: data", "data: elsewhere"), "data"),
        (("mode: smarthost, host: \"mail.example.com:587\"", "mode: sandbox"), "delivery.mode, delivery.host"),
        (("mail.example.com:587", "mail.example.com:25"), "delivery.host"),
        (("dot: 5m", "dot: 6m"), "delivery.timeouts.dot"),
        (("data: data", "data: data\nqueue: {url: 'sqlite:///q.db'}"), "queue.url"),
        (("data: data", "data: data\ndns: {servers: [192.0.2.53]}"), "dns.servers"),
        (("data: data", "data: data\nmetrics: {bind: '127.0.0.1:9999'}"), "metrics.bind"),
        (("data: data", "data: data\nmemory_budget: 1GiB"), "memory_budget"),
        (("data: data", "data: data\nevents: {keep_days: 3}"), "events.keep_days"),
    ],
)  # fmt: skip
def test_what_is_opened_once_waits_for_a_restart_and_does_not_refuse_the_rest(read, change, name):
    running = read()
    config, waiting = in_force(running, read(change, ("max_recipients: 100", "max_recipients: 300")))
    assert restart_notes(waiting) == [f"needs a restart: {name}"]
    assert config.listeners["apps"].max_recipients == 300
    assert set(config.listeners) == set(running.listeners)
    assert config.listeners["smtps"].bind == running.listeners["smtps"].bind
    for field in FIXED:
        assert getattr(config, field) == getattr(running, field)


def test_what_waits_is_told_at_every_reload(read):
    config, _ = in_force(read(), read(("127.0.0.1:4650", "127.0.0.1:465")))
    assert in_force(config, read(("127.0.0.1:4650", "127.0.0.1:465")))[1] == ["listeners.smtps.bind"]
    assert in_force(config, read())[1] == []


def test_mistakes_are_still_found_at_their_line(read):
    config, _ = in_force(read(), read(("max_recipients: 100", "max_recipients: 300")))
    assert config.place("listeners", "apps")[1] == 10
