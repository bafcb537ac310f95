"""Servers for the flood: mail for a model Internet, each server as it is shipped.

- the relay with its shipped streams and routes; providers bear 20 connections, as Postfix's default is;
- Postfix in its default form;
- Postfix with a transport of its own for marketing, so that its processes are not those of the codes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import yaml

from relay.cli.machine import Program, Trouble, free_port, listens
from tests.bench.servers import DOMAIN, MASTER, ROOT, Server, found, ready, stop_postfix
from tests.internet.internet import Internet

CONNECTIONS = 20  # to a destination: Postfix's default_destination_concurrency_limit
PROVIDERS = {"providers": {"everyone": {"mx": "*", "per_source": {
    "connections": CONNECTIONS, "messages_per_connection": 1000}}}}  # fmt: skip
MAIN = """compatibility_level = 3.6
myhostname = relay.example.com
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = none
smtp_tls_security_level = none
queue_directory = {home}/spool
data_directory = {home}/data
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
transport_maps = inline:{{ {transports} }}
"""
PATIENCE_S = 300.0  # for a start, with whatever is in the queue
Start = Callable[[Path, Internet, ExitStack], Server]


def start_relay(home: Path, internet: Internet, stack: ExitStack) -> Server:
    """`python -m relay serve` of this environment and source tree, with a key for example.com."""
    prepare_relay(home, internet)
    return launch(home, stack)


def prepare_relay(home: Path, internet: Internet) -> None:
    """Configuration, shipped policies and a key, in a new folder."""
    home.mkdir()
    settings = {
        "hostname": "relay.example.com",
        "data": str(home / "data"),
        "policies": str(home / "policies"),
        "listeners": {"apps": {"bind": f"127.0.0.1:{free_port()}", "networks": ["127.0.0.0/8"]}},
        "delivery": {"mode": "mx", "port": internet.place.port, "allow_targets": ["127.0.0.0/8"]},
        "dns": {"servers": [internet.server]},
        "metrics": {"bind": f"127.0.0.1:{free_port()}"},
        "drain": "1s",
    }
    (home / "policies").mkdir()
    for name in ("streams.yaml", "routes.yaml"):
        shutil.copy(ROOT / "policies" / name, home / "policies")
    (home / "policies" / "providers.yaml").write_text(yaml.safe_dump(PROVIDERS))
    (home / "relay.yaml").write_text(yaml.safe_dump(settings))
    _make_key(home / "data" / "dkim")


def launch(home: Path, stack: ExitStack) -> Server:
    """Starts the relay of a folder and waits until it says that it is ready. Raises Trouble."""
    settings = yaml.safe_load((home / "relay.yaml").read_text())
    port, health = (int(bind.rpartition(":")[2]) for bind in (
        settings["listeners"]["apps"]["bind"], settings["metrics"]["bind"]))  # fmt: skip
    command = [sys.executable, "-m", "relay", "serve", "--config", str(home / "relay.yaml")]
    program = Program(command, home / "relay.log", cwd=ROOT)
    stack.callback(program.stop)
    program.wait_until(lambda: ready(health), "the relay is ready", PATIENCE_S)
    return Server("relay", port, [program])


def _make_key(folder: Path) -> None:
    command = [sys.executable, "-m", "relay", "dkim", "generate", DOMAIN, "r1", "--algorithm", "rsa",
               "--keys", str(folder)]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Trouble(f"no key: {done.stderr}")


def start_postfix(home: Path, internet: Internet, stack: ExitStack) -> Server:
    """Postfix in its default form; needs root."""
    return _start_postfix("postfix", home, internet, stack, marketing="smtp")


def start_postfix_own(home: Path, internet: Internet, stack: ExitStack) -> Server:
    """Postfix with a transport of its own for marketing; needs root."""
    return _start_postfix("postfix, own transport", home, internet, stack, marketing="marketing")


def _start_postfix(name: str, home: Path, internet: Internet, stack: ExitStack, *, marketing: str) -> Server:
    home.mkdir(mode=0o755)
    for folder in ("spool", "data"):
        (home / folder).mkdir()
    shutil.chown(home / "data", "postfix")
    port = free_port()
    transports = [
        f"{domain}={'smtp' if provider.group == 'codes' else marketing}:"
        f"[{internet.address(domain)}]:{internet.place.port}"
        for provider in internet.providers for domain in provider.domains
    ]  # fmt: skip
    (home / "main.cf").write_text(MAIN.format(home=home, transports=", ".join(transports)))
    (home / "master.cf").write_text(MASTER.format(port=port) + "marketing unix - - n - - smtp\n")
    if Path("/etc/postfix/dynamicmaps.cf").exists():
        shutil.copy("/etc/postfix/dynamicmaps.cf", home)
    program = Program([found("postfix"), "-c", str(home), "start-fg"], home / "start.log")
    stack.callback(stop_postfix, home, program)
    program.wait_until(lambda: listens(port), "Postfix listens")
    return Server(name, port, [program])


SERVERS: dict[str, Start] = {
    "relay": start_relay, "postfix": start_postfix, "postfix-own": start_postfix_own,
}  # fmt: skip
