"""The relay itself, as a process: `python -m relay serve` on a configuration made for the test."""

from __future__ import annotations

import json
import os
import re
import smtplib
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

from relay.cli.control import Control
from tests.peers.keys import Key
from tests.peers.place import Place, Program, free_port, wait_for

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
HOSTNAME = "relay.shop.test"
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
QUEUED_ID = re.compile(r"\b([0-9a-hjkmnp-tv-z]{19})\b")
Done = subprocess.CompletedProcess[bytes]
Extra = Mapping[str, Any] | None
WORKERS = int(os.environ.get("RELAY_TEST_WORKERS", "0"))  # every scenario can be played with fronts
RETRY = {"after": ["300ms", "500ms"], "then": "1s", "expire": "30s"}


class Names(Protocol):
    """Who is asked for MX records: NSD, or a model Internet."""

    server: str


class Relay:
    """A relay that delivers by the name server's MX records to the peers' common port. `delivery`, `config`,
    `listener`, `stream`, `policy` and `provider` are merged over what is made here; `keys` are installed for
    shop.test."""

    def __init__(
        self,
        place: Place,
        names: Names,
        keys: Mapping[str, Key],
        *,
        delivery: Extra = None,
        config: Extra = None,
        stream: Extra = None,
        policy: Extra = None,
        provider: Extra = None,
        listener: Extra = None,
    ) -> None:
        self.home = place.room("relay")
        self.smtp_port, self.metrics_port = free_port(), free_port()
        self.config = self.home / "relay.yaml"
        self.program: Program | None = None
        self.command = [sys.executable, "-m", "relay"]
        self.surroundings: dict[str, str] = {}  # more environment, for the relay's own process only
        for selector, key in keys.items():
            self._write(f"data/dkim/shop.test/{selector}.pem", key.pem, mode=0o600)
        policies = yaml.safe_dump(_policy(keys, stream, policy, provider), sort_keys=False)
        self._write("policies/all.yaml", policies.encode())
        self._write("relay.yaml", yaml.safe_dump(self._settings(place, names, delivery, config, listener)).encode())

    def start(self) -> Relay:
        """Starts the process and waits until it says that it takes mail."""
        command = [*self.command, "serve", "--config", str(self.config)]
        surroundings = self.environment() | self.surroundings
        self.program = Program(command, self.home / "log", cwd=ROOT, env=surroundings)
        self.program.wait_until(self.ready, "the relay is ready")
        return self

    def environment(self) -> dict[str, str]:
        """For programs that call `relay`: this configuration, this source tree."""
        return {**os.environ, "RELAY_CONFIG": str(self.config), "PYTHONPATH": str(ROOT)}

    def run(self, *arguments: str, text: bytes = b"", check: bool = True) -> Done:
        """`relay ARGUMENTS` on this configuration."""
        command = [sys.executable, "-m", "relay", *arguments]
        done = subprocess.run(
            command, input=text, capture_output=True, cwd=ROOT, env=self.environment(), timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, (command, done.stdout.decode(), done.stderr.decode())
        return done

    def ready(self) -> bool:
        """What /readyz answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def status(self) -> dict[str, Any]:
        """What `relay status --json` shows."""
        return dict(Control(self.home / "data" / "control.sock").get("status"))

    def metrics(self) -> dict[tuple[str, str], float]:
        """(name, labels as they are printed) to value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            found = [SAMPLE.match(line) for line in answer.read().decode().splitlines()]
        return {(one[1], one[2] or ""): float(one[3]) for one in found if one}

    def total(self, name: str, labels: str = "") -> float:
        """The sum of a metric over all samples whose labels contain `labels`."""
        return sum(value for (one, tags), value in self.metrics().items() if one == name and labels in tags)

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The event log in order; of these names only, when some are given."""
        rows = []
        for file in sorted((self.home / "data" / "events").glob("*.jsonl")):
            for line in file.read_text().splitlines(keepends=True):
                if line.endswith("\n"):  # the last line may be in the making
                    rows.append(json.loads(line))
        return [row for row in rows if not names or row["event"] in names]

    def summary(self, message: str = "") -> list[tuple[str, str, int | None]]:
        """(event, recipient, code) of everything that happened to mail, or to one message, in order."""
        skip = {"attempted", "reloaded"}
        rows = [row for row in self.events() if row["event"] not in skip]
        return [(row["event"], row.get("recipient", ""), row.get("code")) for row in rows
                if not message or row.get("message") == message]

    def ends(self, message: str, count: int = 1, timeout_s: float = 30) -> list[tuple[str, str, int | None]]:
        """The summary of a message, once `count` of its recipients have come to an end."""
        ending = {"delivered", "bounced", "expired", "cancelled"}

        def ended() -> list[tuple[str, str, int | None]]:
            rows = self.summary(message)
            return rows if sum(row[0] in ending for row in rows) >= count else []

        return self.wait(ended, f"{count} ends of {message}", timeout_s)

    def wait(self, question: Callable[[], T], what: str, timeout_s: float = 30) -> T:
        """The first true answer; fails with what the relay logged."""
        try:
            return wait_for(question, what, timeout_s)
        except AssertionError as trouble:
            tail = self.program.tail() if self.program else ""
            raise AssertionError(f"{trouble}\nevents: {self.summary()[-20:]}\nlog: {tail}") from None

    def waiting(self) -> list[dict[str, Any]]:
        """What `relay queue list` shows."""
        rows = json.loads(self.run("queue", "list", "--json", "--limit", "10000").stdout)
        return list(rows["rows"] if isinstance(rows, dict) else rows)

    def idle(self, timeout_s: float = 60) -> None:
        """Waits until the queue is empty, the accounts balance and the event log has told of it."""
        self.wait(lambda: self.total("relay_queue_recipients") == 0, "an empty queue", timeout_s)
        assert self.total("relay_accounting_gap") == 0
        self.wait(self._told, "the ends in the event log", timeout_s)

    def _told(self) -> bool:
        """Whether the log, which is written up to 50 ms behind, has every end that this process counted."""
        ends = ("delivered", "bounced", "expired", "cancelled")
        counted = sum(self.total("relay_recipients_total", f'outcome="{end}"') for end in ends)
        return len(self.events(*ends)) >= counted

    def smtp(self) -> smtplib.SMTP:
        """A connection to the listener."""
        return smtplib.SMTP("127.0.0.1", self.smtp_port, local_hostname="app.shop.test", timeout=60)

    def send(
        self, sender: str, recipients: str | Iterable[str], message: bytes, *, mail: Iterable[str] = (),
        rcpt: Iterable[str] = (),
    ) -> str:  # fmt: skip
        """Submits bytes as they are and returns the id in the reply; every recipient must be taken."""
        with self.smtp() as smtp:
            return submit(smtp, sender, recipients, message, mail=mail, rcpt=rcpt)

    def stop(self) -> None:
        """SIGTERM; a clean end is part of every scenario."""
        if self.program is not None:
            status = self.program.stop()
            assert status == 0, f"exit status {status}:\n{self.program.tail()}"
            self.program = None

    def kill(self) -> None:
        """SIGKILL, at any moment."""
        assert self.program is not None
        self.program.process.kill()
        self.program.process.wait()
        self.program = None

    def _write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        file = self.home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)

    def _settings(
        self, place: Place, names: Names, delivery: Extra, config: Extra, listener: Extra
    ) -> dict[str, Any]:
        apps = {"bind": f"127.0.0.1:{self.smtp_port}", "networks": ["127.0.0.0/8"], **(listener or {})}
        leaving = {"mode": "mx", "port": place.port, "allow_targets": ["127.0.0.0/8"]}
        return {
            "hostname": HOSTNAME,
            "data": "data",
            "policies": "policies",
            "listeners": {"apps": apps},
            "delivery": {**leaving, **(delivery or {})},
            "dns": {"servers": [names.server]},
            "metrics": {"bind": f"127.0.0.1:{self.metrics_port}"},
            "drain": "5s",
            "workers": WORKERS,
            **(config or {}),
        }


def submit(
    smtp: smtplib.SMTP, sender: str, recipients: str | Iterable[str], message: bytes, *,
    mail: Iterable[str] = (), rcpt: Iterable[str] = (),
) -> str:  # fmt: skip
    """One transaction on an open connection; returns the relay's id, fails for any refusal."""
    smtp.ehlo_or_helo_if_needed()
    addresses = [recipients] if isinstance(recipients, str) else list(recipients)
    code, words = smtp.mail(sender, list(mail))
    assert code == 250, words
    for address in addresses:
        code, words = smtp.rcpt(address, list(rcpt))
        assert code == 250, words
    code, words = smtp.data(message)
    assert code == 250, words
    found = QUEUED_ID.search(words.decode())
    assert found, words
    return found[1]


def _policy(keys: Mapping[str, Key], stream: Extra, policy: Extra, provider: Extra) -> dict[str, Any]:
    signings = [
        {"domain": "from", "selector": key.selector, "algorithm": key.algorithm} for key in keys.values()
    ]
    limits = {"connections": 10, "messages_per_connection": 100, **(provider or {})}
    return {
        "streams": {"transactional": {"pool": "main", "dkim": signings, "retry": RETRY, **(stream or {})}},
        "pools": {"main": {"sources": [{"name": "m1"}]}},
        "routes": [{"name": "everything", "stream": "transactional"}],
        "providers": {"everyone": {"mx": "*", "per_source": limits}},
        **(policy or {}),
    }
