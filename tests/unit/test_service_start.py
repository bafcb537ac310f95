"""What a start and a stop owe: the lock, keys of our own, systemd's sockets and datagrams, no thread left over."""

import asyncio
import os
import socket
import threading

import pytest

from relay.config.check import check_all
from relay.service.gauges import bring_up_to_date
from relay.service.keyfile import secret_file
from relay.service.lock import Busy, data_lock
from relay.service.relay import Relay
from relay.service.run import rules_of
from relay.service.settings import credential_standings, delivery_settings, fixed_terms, listener_settings
from relay.service.systemd import Notifier, listen_descriptors
from relay.smtp.client import StartTls

CONFIG = """
hostname: relay.example.com
data: data
policies: policies
listeners:
  apps: {bind: "127.0.0.1:2525", networks: [127.0.0.0/8], streams: [marketing], max_recipients: 300}
delivery: %s
metrics: {bind: "127.0.0.1:9125"}
"""
POLICY = """
streams:
  transactional: {pool: main, retry: {after: [1m], then: 1h, expire: 24h}}
  marketing: {pool: main, retry: {after: [15m], then: 1h, expire: 72h}}
pools: {main: {sources: [{name: t1}]}}
routes: [{name: all, stream: transactional}]
providers: {everyone: {mx: ["*"], per_source: {connections: 5}}}
"""


def written(folder, delivery="{mode: sandbox}"):
    (folder / "policies").mkdir()
    (folder / "policies" / "all.yaml").write_text(POLICY)
    (folder / "relay.yaml").write_text(CONFIG % delivery)
    report = check_all(folder / "relay.yaml")
    assert not [str(one) for one in report.problems]
    return report


def test_two_relays_never_share_a_data_folder(tmp_path):
    with data_lock(tmp_path / "data"), pytest.raises(Busy, match="another relay runs"), data_lock(tmp_path / "data"):
        pass
    with data_lock(tmp_path / "data"):
        pass


def test_a_key_is_made_once_and_is_nobody_elses(tmp_path):
    path = tmp_path / "deep" / "return-path.key"
    key = secret_file(path)
    assert len(key) == 32
    assert secret_file(path) == key
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", [b"", b"half a key"])
def test_a_key_that_a_crash_cut_short_is_made_anew(tmp_path, left):
    path = tmp_path / "return-path.key"
    path.write_bytes(left)
    assert len(secret_file(path)) == 32


def notified(tmp_path, address=None):
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(address or str(tmp_path / "notify"))
    listening.setblocking(False)
    return listening


def test_systemd_hears_the_state_line_by_line(tmp_path):
    with notified(tmp_path) as listening:
        Notifier(str(tmp_path / "notify")).tell("READY=1", "STATUS=taking mail")
        assert listening.recv(1000) == b"READY=1\nSTATUS=taking mail"


def test_an_abstract_address_is_one_that_starts_with_an_at_sign(tmp_path):
    name = f"relay-test-{os.getpid()}"
    with notified(tmp_path, f"\0{name}") as listening:
        Notifier(f"@{name}").tell("WATCHDOG=1")
        assert listening.recv(1000) == b"WATCHDOG=1"


def test_nobody_who_listens_is_no_trouble(tmp_path):
    Notifier("").tell("READY=1")
    Notifier(str(tmp_path / "gone")).tell("READY=1")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_fed_in_half_its_time(monkeypatch, environment, seconds):
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Notifier("").watchdog_s() == seconds


@pytest.mark.parametrize(
    ("pid", "count", "names", "found"),
    [
        ("", "0", "", {}),
        ("self", "3", "apps:smtps:apps", {"apps": [3, 5], "smtps": [4]}),
        ("self", "2", "apps", {"apps": [3], "": [4]}),
        ("1", "2", "apps:smtps", {}),
        ("self", "many", "apps", {}),
    ],
)
def test_inherited_sockets_are_known_by_their_names(monkeypatch, pid, count, names, found):
    inheritable = []
    monkeypatch.setattr(os, "set_inheritable", lambda handle, on: inheritable.append((handle, on)))
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()) if pid == "self" else pid)
    monkeypatch.setenv("LISTEN_FDS", count)
    monkeypatch.setenv("LISTEN_FDNAMES", names)
    assert listen_descriptors() == found
    assert inheritable == [(handle, False) for handles in sorted(found.values()) for handle in handles] or len(
        inheritable
    ) == sum(map(len, found.values()))
    assert "LISTEN_FDS" not in os.environ


def test_settings_reach_the_parts_they_are_for(tmp_path):
    report = written(tmp_path, '{mode: smarthost, host: "mail.example.com:587", tls: required, credential: "us:er:pw"}')
    config = report.config
    apps = listener_settings(config, "apps", config.listeners["apps"])
    assert (apps.name, apps.hostname, apps.max_recipients) == ("apps", "relay.example.com", 300)
    assert [str(one) for one in apps.networks] == ["127.0.0.0/8"]
    delivery = delivery_settings(config, 0)
    assert delivery.fixed == ("mail.example.com", 587)
    assert (delivery.login.user, delivery.login.password) == ("us", "er:pw")
    terms = fixed_terms(config, delivery)
    assert terms.provider == "smarthost"
    assert terms.starttls is StartTls.REQUIRED
    assert terms.rates.messages_per_connection == 0
    assert credential_standings({}) == {}


def test_the_sandbox_is_reached_in_clear_and_mx_delivery_by_the_policy(tmp_path):
    config = written(tmp_path).config
    settings = delivery_settings(config, 4025)
    assert settings.fixed == ("127.0.0.1", 4025)
    assert fixed_terms(config, settings).starttls is StartTls.NEVER
    (tmp_path / "mx").mkdir()
    config = written(tmp_path / "mx", "{mode: mx}").config
    assert fixed_terms(config, delivery_settings(config, 0)) is None


def test_a_relay_that_could_not_start_leaves_no_thread_behind(tmp_path):
    """A thread of the queue that lives on keeps the process from exiting, and systemd from starting it anew."""

    async def scenario():
        report = written(tmp_path)
        relay = Relay(report.config, rules_of(report))
        (tmp_path / "data" / "return-path.key").mkdir(parents=True)  # the last thing that `open` wants
        with pytest.raises(OSError, match="return-path"):
            await relay.open()
        await relay.close()

    before = set(threading.enumerate())
    asyncio.run(scenario())
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(2)
    assert not [thread.name for thread in left if thread.is_alive()]


def test_a_relay_opens_takes_a_reload_and_stops(tmp_path):
    async def scenario():
        report = written(tmp_path)
        relay = Relay(report.config, rules_of(report))
        await relay.open()
        (tmp_path / "policies" / "all.yaml").write_text(POLICY.replace("connections: 5", "connections: 1"))
        again = check_all(tmp_path / "relay.yaml")
        relay.take(again.config, rules_of(again), {})
        assert relay.policy().providers[-1].limits.connections == 1
        await bring_up_to_date(relay)
        assert b"relay_accounting_gap 0.0" in relay.metrics.render()
        await relay.stop(1)

    asyncio.run(scenario())
