"""The systemd units: systemd itself finds nothing wrong with them, and the service is shut in tightly."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

SYSTEMD = pathlib.Path(__file__).parents[2] / "systemd"
UNITS = sorted(path.name for path in SYSTEMD.iterdir() if path.suffix in (".service", ".socket"))
ANALYZE = shutil.which("systemd-analyze")


def analyze(*words):
    if ANALYZE is None:
        if os.environ.get("RELAY_REQUIRE_PEERS"):
            pytest.fail("systemd-analyze is not installed: apt install systemd")
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([ANALYZE, *words], capture_output=True, text=True, timeout=60, check=False)


def settings(name):
    """Every setting of a unit, as (key, value) in order."""
    pairs = re.findall(r"^(\w+)=(.*)$", (SYSTEMD / name).read_text(), re.MULTILINE)
    assert pairs
    return pairs


@pytest.fixture
def installed(tmp_path):
    """The units as they are installed; the program itself stands in /bin/true, as systemd looks for it."""
    for name in UNITS:
        text = (SYSTEMD / name).read_text().replace("/opt/relay/bin/relay", "/bin/true")
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.peers
def test_systemd_finds_nothing_wrong(installed):
    done = analyze("verify", *(str(installed / name) for name in UNITS))
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if str(installed) in line], done.stderr


@pytest.mark.peers
def test_verify_does_find_what_is_wrong(installed):
    """The control: a test that passes on anything proves nothing."""
    (installed / "relay.service").write_text("[Service]\nExecStart=nowhere\nProtectSystm=strict\n")
    done = analyze("verify", str(installed / "relay.service"))
    assert done.returncode != 0 or "ProtectSystm" in done.stderr


@pytest.mark.peers
def test_exposure_is_at_most_two():
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(SYSTEMD / "relay.service"))
    assert done.returncode == 0, done.stdout
    level = re.search(r"Overall exposure level for relay\.service: ([\d.]+)", done.stdout)
    assert level, done.stdout
    assert float(level[1]) <= 2.0


def test_service_tells_systemd_what_it_does():
    service = dict(settings("relay.service"))
    assert service["Type"] == "notify"
    assert service["NotifyAccess"] == "main"
    assert service["WatchdogSec"]
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["StateDirectory"] == service["ConfigurationDirectory"] == "relay"
    assert service["User"] == "relay"


def test_service_needs_no_capability():
    """Ports below 1024 come from the socket units."""
    service = dict(settings("relay.service"))
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert service["NoNewPrivileges"] == "yes"


def test_service_may_reach_the_network_and_its_own_files():
    service = dict(settings("relay.service"))
    assert set(service["RestrictAddressFamilies"].split()) == {"AF_INET", "AF_INET6", "AF_UNIX"}
    assert "PrivateNetwork" not in service
    assert service["ProtectSystem"] == "strict"


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".socket")])
def test_socket_names_one_listener(name):
    socket = settings(name)
    assert [value for key, value in socket if key == "Service"] == ["relay.service"]
    names = [value for key, value in socket if key == "FileDescriptorName"]
    assert len(names) == 1
    assert [key for key, _ in socket].count("ListenStream") == 1


def test_socket_units_share_no_port():
    ports = [value for name in UNITS for key, value in settings(name) if key == "ListenStream"]
    assert len(ports) == len(set(ports))


def test_account_is_declared():
    user = dict(settings("relay.service"))["User"]
    lines = (SYSTEMD / "relay.sysusers").read_text().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("u ")] == [user]
