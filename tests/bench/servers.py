"""The servers that are measured: the relay, and Postfix with OpenDKIM. Each takes mail on a port of its own,
signs what comes from example.com (RSA-2048, relaxed/relaxed), syncs before it answers 250, and hands everything
to the sink."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import yaml

from relay.cli.machine import Program, Trouble, free_port, listens, resident_mb, tree

ROOT = Path(__file__).parents[2]
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
DOMAIN, SELECTOR = "example.com", "s1"
CONNECTIONS = 20  # each server's, to the sink

MASTER = """127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""
# Postfix's own durability; what is set beyond the bare minimum makes it faster: no delay for intake, and as
# many connections to the sink as the relay may have.
MAIN = """compatibility_level = 3.6
myhostname = relay.example.com
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
biff = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtp_host_lookup = native
smtp_dns_support_level = disabled
relayhost = [127.0.0.1]:{sink}
queue_directory = {home}/spool
data_directory = {home}/data
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
message_size_limit = 60000000
default_process_limit = 100
in_flow_delay = 0
smtp_destination_concurrency_limit = {connections}
initial_destination_concurrency = {connections}
"""
MILTER = """smtpd_milters = unix:{home}/milter.sock
milter_default_action = tempfail
milter_protocol = 6
"""
OPENDKIM = """Mode s
Domain {domain}
Selector {selector}
KeyFile {key}
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
InternalHosts 127.0.0.0/8
ExternalIgnoreList 127.0.0.0/8
OversignHeaders From
RequireSafeKeys no
Socket local:{home}/milter.sock
UMask 000
Background no
Syslog no
"""
class Server:
    """A server that takes mail on `port`; its processes are `programs` and all below them."""

    def __init__(self, name: str, port: int, programs: list[Program]) -> None:
        self.name, self.port, self.programs = name, port, programs

    def cpu_s(self) -> float:
        """User and system time so far, of every process."""
        return sum(cpu for program in self.programs for _, cpu in tree(program.pid))

    def rss_mb(self) -> float:
        """Resident now, of every process."""
        return resident_mb(pid for program in self.programs for pid, _ in tree(program.pid))


def make_key(home: Path) -> Path:
    """The key both sign with, made by the relay where it looks for it."""
    command = [sys.executable, "-m", "relay", "dkim", "generate", DOMAIN, SELECTOR, "--algorithm", "rsa",
               "--keys", str(home / "relay" / "dkim")]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Trouble(f"no key: {done.stderr}")
    return home / "relay" / "dkim" / DOMAIN / f"{SELECTOR}.pem"


def start_relay(
    home: Path, sink: int, stack: ExitStack, *, connections: int = CONNECTIONS, signed: bool = True,
    workers: int | str = "auto",
) -> Server:  # fmt: skip
    """`python -m relay serve` of this environment and source tree, on a configuration made here."""
    port, health = free_port(), free_port()
    listener = {"bind": f"127.0.0.1:{port}", "networks": ["127.0.0.0/8"], "max_connections_per_client": 1000}
    settings = {
        "hostname": "relay.example.com",
        "data": str(home / "relay"),
        "policies": str(home / "policies"),
        "listeners": {"apps": listener},
        "delivery": {"mode": "smarthost", "host": f"127.0.0.1:{sink}", "tls": "never",
                     "host_connections": connections},
        "metrics": {"bind": f"127.0.0.1:{health}"},
        "drain": "1s",
        "workers": workers,
    }  # fmt: skip
    (home / "policies").mkdir()
    (home / "policies" / "all.yaml").write_text(yaml.safe_dump(_policy(connections, signed)))
    config = home / "relay.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "relay", "serve", "--config", str(config)]
    program = Program(command, home / "relay.log", cwd=ROOT)
    stack.callback(program.stop)
    program.wait_until(lambda: ready(health), "the relay is ready")
    return Server("relay", port, [program])


def _policy(connections: int, signed: bool) -> dict[str, object]:
    stream = {
        "pool": "main",
        "dkim": [{"domain": "from", "selector": SELECTOR}] if signed else [],
        "retry": {"after": ["1s"], "then": "5s", "expire": "1h"},
    }
    return {
        "streams": {"transactional": stream},
        "pools": {"main": {"sources": [{"name": "m1"}]}},
        "routes": [{"name": "everything", "stream": "transactional"}],
        "providers": {"everyone": {"mx": "*", "per_source": {"connections": connections}}},
    }


def start_postfix(
    home: Path, sink: int, key: Path | None, stack: ExitStack, *, connections: int = CONNECTIONS
) -> Server:
    """Postfix, and with a key OpenDKIM as its milter, on configurations made here; needs root."""
    home.mkdir(mode=0o755)
    for name in ("spool", "data"):
        (home / name).mkdir()
    shutil.chown(home / "data", "postfix")
    signer = [_start_opendkim(home, key, stack)] if key else []
    port = free_port()
    main = MAIN + MILTER if key else MAIN
    (home / "main.cf").write_text(main.format(home=home, sink=sink, connections=connections))
    (home / "master.cf").write_text(MASTER.format(port=port))
    if Path("/etc/postfix/dynamicmaps.cf").exists():
        shutil.copy("/etc/postfix/dynamicmaps.cf", home)
    postfix = Program([found("postfix"), "-c", str(home), "start-fg"], home / "start.log")
    stack.callback(stop_postfix, home, postfix)
    postfix.wait_until(lambda: listens(port), "Postfix listens")
    return Server("postfix+opendkim" if key else "postfix", port, [*signer, postfix])


def _start_opendkim(home: Path, key: Path, stack: ExitStack) -> Program:
    (home / "opendkim.conf").write_text(OPENDKIM.format(domain=DOMAIN, selector=SELECTOR, key=key, home=home))
    signer = Program([found("opendkim"), "-f", "-x", str(home / "opendkim.conf")], home / "opendkim.log")
    stack.callback(signer.stop)
    signer.wait_until((home / "milter.sock").exists, "opendkim listens")
    return signer


def why_no_postfix(*, opendkim: bool = True) -> str:
    """What keeps Postfix, with OpenDKIM or without, from being measured here; "" if nothing."""
    wanted = ("postfix", "opendkim") if opendkim else ("postfix",)
    if missing := [name for name in wanted if shutil.which(name, path=PATH) is None]:
        return f"{' and '.join(missing)} not installed (apt-get install {' '.join(wanted)})"
    return "" if os.geteuid() == 0 else "Postfix starts only as root"


def stop_postfix(home: Path, program: Program) -> None:
    """Ends it and all it started."""
    # master ends its children only when told so by its own command
    command = [found("postfix"), "-c", str(home), "abort"]
    subprocess.run(command, capture_output=True, check=False)
    program.stop()


def found(name: str) -> str:
    """The path of a program; raises Trouble."""
    path = shutil.which(name, path=PATH)
    if path is None:
        raise Trouble(f"{name} is not installed")
    return path


def ready(port: int) -> bool:
    """What /readyz answers on that port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
