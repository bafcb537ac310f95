"""Every command of the README is run: those of the quickstart against a relay that runs, those of production
against a copy of /etc and /var in a folder. What needs root, systemd, the network or minutes is named in
one list and checked as far as it goes: programs of ours by their --help, files by their being there."""

import contextlib
import datetime
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
import yaml

from tests.peers.place import free_port

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
NOT_RUN = {  # command → why not here; what it names is checked instead
    "make run": "installs from the network; its recipe is what the fixture below does",
    "make test": "is what runs this",
    ". .venv/bin/activate": "needs make run",
    "/usr/bin/python3 -m venv /opt/relay": "writes outside the checkout",
    "/opt/relay/bin/pip install --constraint constraints.txt .": "installs from the network",
    "ln -s /opt/relay/bin/relay /usr/local/bin/relay": "writes outside the checkout",
    "ln -s /opt/relay/bin/relay /usr/sbin/sendmail": "writes outside the checkout",
    "install -m 644 systemd/relay.sysusers /usr/lib/sysusers.d/relay.conf": "needs root",
    "systemd-sysusers": "needs root",
    "install -m 644 -t /etc/systemd/system systemd/relay.service systemd/relay.socket "
    "systemd/relay-submission.socket": "needs root",
    "install -d -o relay -g relay -m 750 /var/lib/relay": "needs root",
    "install -d -m 755 /etc/relay": "needs root",
    "cp -r policies /etc/relay/": "needs root",
    "relay dkim check example.com": "asks the DNS",
    "promtool check rules /etc/relay/alerts.yml": "tests/peers/test_alerts.py does, on the same file",
    "systemctl daemon-reload": "needs systemd",
    "systemctl enable --now relay.socket relay-submission.socket relay.service": "needs systemd",
}


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(prompt):
    return [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith(prompt + " ")]


QUICKSTART, PRODUCTION = commands("$"), commands("#")


def wait_until(happened, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if happened():
                return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


class Machine:
    """A folder that stands for a machine: its relay, its /etc and /var, ports of its own."""

    def __init__(self, root):
        self.root = root
        self.ports = {"2525": free_port(), "587": free_port(), "9125": free_port()}
        (root / "bin").mkdir()
        program = root / "bin" / "relay"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m relay "$@"\n')
        program.chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RELAY_")},
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        self.process = None

    def here(self, text):
        """Text of the README as it is on this machine."""
        for port, own in self.ports.items():
            text = re.sub(rf":{port}\b", f":{own}", text)
        return text.replace("/etc/relay", f"{self.root}/etc").replace("/var/lib/relay", f"{self.root}/var")

    def run(self, command):
        return subprocess.run(
            ["bash", "-c", self.here(command)], cwd=self.root, env=self.environment, capture_output=True, text=True,
            timeout=60, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    def start(self, config):
        words = [self.root / "bin" / "relay", "serve", "--config", str(config)]
        with (self.root / "serve.log").open("w") as log:
            self.process = subprocess.Popen(words, cwd=self.root, env=self.environment, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{self.ports['9125']}/readyz"

        def ready():
            assert self.process.poll() is None, (self.root / "serve.log").read_text()
            return urllib.request.urlopen(url, timeout=5).status == 200

        wait_until(ready)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(40) == 0, (self.root / "serve.log").read_text()


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """What `make run` does, in a copy."""
    machine = Machine(tmp_path_factory.mktemp("quick"))
    shutil.copytree(ROOT / "policies", machine.root / "policies")
    (machine.root / "config").mkdir()
    config = machine.root / "config" / "quickstart.yaml"
    config.write_text(machine.here((ROOT / "config" / "quickstart.yaml").read_text()))
    for words in ("r1 --algorithm rsa", "r1e --algorithm ed25519"):
        done = machine.run(f"relay dkim generate example.com {words} --keys var/quickstart/dkim")
        assert done.returncode == 0, done.stderr
    machine.start(config)
    yield machine
    machine.stop()


def certificate(folder):
    """A certificate of this machine's own."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=90))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    folder.mkdir()
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "privkey.pem").write_bytes(pem)
    (folder / "privkey.pem").chmod(0o600)


def yaml_of(path):
    [text] = [block for block in blocks("yaml") if block.startswith(f"# {path}")]
    return text


@pytest.fixture(scope="module")
def production(tmp_path_factory):
    """The page followed up to the start: files where it says, keys and credentials made by its commands. The
    relay delivers into its sandbox, and listens on ports of its own."""
    machine = Machine(tmp_path_factory.mktemp("prod"))
    (machine.root / "var").mkdir()
    shutil.copytree(ROOT / "policies", machine.root / "etc" / "policies")
    certificate(machine.root / "etc" / "tls")
    config = machine.root / "etc" / "relay.yaml"
    config.write_text(machine.here(yaml_of("/etc/relay/relay.yaml")).replace("mode: mx", "mode: sandbox"))
    machine.environment["RELAY_CONFIG"] = str(config)
    yield machine
    machine.stop()


def test_the_readme_has_commands():
    """The control: tests over lists that are empty prove nothing."""
    assert len(QUICKSTART) >= 9
    assert len(PRODUCTION) >= 25
    assert set(NOT_RUN) <= {*QUICKSTART, *PRODUCTION}, "a command was taken out of the README but not of NOT_RUN"


@pytest.mark.parametrize("command", [one for one in QUICKSTART if one not in NOT_RUN])
def test_quickstart(quickstart, command):
    program = shlex.split(command)[0]
    if shutil.which(program) is None and program != "relay":
        if os.environ.get("RELAY_REQUIRE_PEERS"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    done = quickstart.run(command)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert done.stdout.strip()


def test_the_quickstarts_mail_arrives_signed(quickstart):
    sent = quickstart.run("relay send --to you@example.com --subject 'are you there'")
    assert sent.returncode == 0, sent.stderr
    command = re.search(r"^next: (relay .*)$", sent.stdout, re.MULTILINE)
    assert command, sent.stdout
    wait_until(lambda: quickstart.run(command[1]).returncode == 0)
    shown = quickstart.run(command[1]).stdout
    assert "Subject: are you there" in shown
    assert re.search(r"^dkim +pass; pass$", shown, re.MULTILINE), shown
    assert re.search(r"^stream +transactional$", shown, re.MULTILINE), shown


def test_the_quickstarts_newsletter_goes_its_own_way(quickstart):
    [command] = [one for one in QUICKSTART if one.startswith("printf")]
    assert "stream marketing" in quickstart.run(command).stdout


def test_sendmail_reaches_the_quickstart(quickstart):
    quickstart.environment["RELAY_SMTP"] = f"127.0.0.1:{quickstart.ports['2525']}"
    command = r"printf 'Subject: from cron\nTo: me@example.com\nBcc: b@example.com\n\nhi\n.\nnot this\n'"
    done = quickstart.run(f"{command} | relay sendmail -t -f root@example.com")
    assert done.returncode == 0, done.stderr

    def caught():
        return "from cron" in quickstart.run("relay sandbox list").stdout

    wait_until(caught)
    assert "me@example.com" in quickstart.run("relay sandbox list").stdout


def test_production_in_order(production):
    """The page from top to bottom on one machine: each command finds what the ones before it left."""
    started = False
    for command in PRODUCTION:
        if command in NOT_RUN:
            continue
        if command == "relay status":
            production.start(production.root / "etc" / "relay.yaml")
            started = True
        done = production.run(command)
        nothing_yet = command.startswith("relay explain") and "nothing is known of" in done.stderr
        assert done.returncode == 0 or nothing_yet, f"{command}\n{done.stdout}{done.stderr}"
    assert started
    assert "example.com" in production.run("relay dkim show example.com").stdout
    assert "web shop" in production.run("relay credential list").stdout


def test_the_first_policy_is_one(tmp_path):
    """The pools of the page, put where it says, leave the policies sound."""
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    streams = tmp_path / "policies" / "streams.yaml"
    text = streams.read_text()
    pools = yaml_of("/etc/relay/policies/streams.yaml").partition("\n")[2]
    changed = re.sub(r"^pools:\n(?:[ #].*\n|\n)*?(?=^\S)", lambda match: pools + "\n", text, flags=re.MULTILINE)
    assert changed != text
    streams.write_text(changed)
    words = [sys.executable, "-m", "relay", "policy", "test", "--policies", str(tmp_path / "policies")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "192.0.2.20" in streams.read_text()


def test_the_first_alerts_are_found_by_prometheus():
    settings = yaml.safe_load(yaml_of("/etc/prometheus"))
    [written] = [command.split()[-1] for command in PRODUCTION if "policy alerts" in command]
    assert settings["rule_files"] == [written]
    [scraped] = settings["scrape_configs"][0]["static_configs"][0]["targets"]
    assert scraped == yaml.safe_load(yaml_of("/etc/relay/relay.yaml"))["metrics"]["bind"]


def test_the_alerts_name_commands_of_ours():
    groups = yaml.safe_load((ROOT / "config/alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    named = {found for rule in rules for found in re.findall(
        r"relay [a-z]+(?: [a-z]+)?(?= --|$|;)", rule["annotations"]["summary"])}  # fmt: skip
    assert len(named) >= 4
    for command in named:
        assert_ours(command)


def assert_ours(command):
    words = [sys.executable, "-m", *command.split(), "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.parametrize("command", sorted(NOT_RUN))
def test_what_is_not_run_is_at_least_possible(command):
    words = shlex.split(command)
    if words[0] == "make":
        done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    elif words[0] == "relay":
        assert_ours(" ".join(words[:3]))
    for word in words:
        if re.match(r"(systemd|policies|constraints)", word) and "-" not in word.partition("/")[0]:
            assert (ROOT / word).exists(), word
        if re.fullmatch(r"relay[a-z-]*\.(service|socket)", word):
            assert (ROOT / "systemd" / word).exists(), word


def test_the_socket_units_open_what_the_page_configures():
    listeners = yaml.safe_load(yaml_of("/etc/relay/relay.yaml"))["listeners"]
    enabled = [word for command in PRODUCTION if "enable --now" in command for word in command.split()]
    for name in (word for word in enabled if word.endswith(".socket")):
        unit = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "systemd" / name).read_text(), re.MULTILINE))
        assert listeners[unit["FileDescriptorName"]]["bind"] == unit["ListenStream"]
