"""A real receiving system: Postfix, with OpenDKIM checking signatures, delivering into maildirs."""

from __future__ import annotations

import email
import email.policy
import os
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from tests.peers.certificates import certificate
from tests.peers.nameserver import NameServer
from tests.peers.place import Place, Program, give_up, listens, need, wait_for

MASTER = """{address}:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""
MAIN = """compatibility_level = 3.6
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.2/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
biff = no
queue_directory = {home}/spool
data_directory = {home}/data
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
virtual_transport = virtual
virtual_mailbox_limit = 0
mailbox_size_limit = 0
message_size_limit = 100000000
header_size_limit = 1000000
smtputf8_enable = yes
smtpd_tls_security_level = may
smtpd_tls_chain_files = {home}/tls.pem
smtpd_milters = unix:{home}/milter/socket
milter_default_action = tempfail
in_flow_delay = 0
"""
# OpenDKIM 2.11 now and then dies of what it verifies; Postfix says 451 meanwhile, and the relay tries again.
OPENDKIM = """Mode v
Socket local:{home}/milter/socket
UMask 000
Background no
Syslog no
AuthservID {hostname}
AlwaysAddARHeader yes
InternalHosts {home}/nobody
PeerList {home}/nobody
RequireSafeKeys no
MaximumSignedBytes 0
AutoRestart yes
AutoRestartRate 20/1m
ResolverConfiguration {home}/unbound.conf
"""
UNBOUND = """server:
  do-not-query-localhost: no
  local-zone: "test." nodefault
  module-config: "iterator"
forward-zone:
  name: "."
  forward-addr: {address}@{port}
"""


@dataclass(frozen=True)
class Delivered:
    """One message in a maildir: `recipient` from Delivered-To, the bytes as Postfix wrote them (LF)."""

    recipient: str
    raw: bytes

    @property
    def message(self) -> EmailMessage:
        """Parsed."""
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    @property
    def body(self) -> bytes:
        """Everything after the header, as it was on the wire (CRLF)."""
        return self.raw.partition(b"\n\n")[2].replace(b"\n", b"\r\n")

    @property
    def dkim(self) -> list[str]:
        """The result OpenDKIM gave for each signature: "pass", "fail" ..."""
        fields = self.message.get_all("Authentication-Results", [])
        results = [part.strip() for field in fields for part in str(field).split(";")]
        return [part.split()[0].removeprefix("dkim=") for part in results if part.startswith("dkim=")]


class Postfix:
    """Accepts mail for every user of `domains` on `address`, the peers' common port."""

    def __init__(self, place: Place, names: NameServer, domains: list[str]) -> None:
        need("postfix", "opendkim")
        if os.geteuid() != 0:
            give_up("Postfix starts only as root")
        self.address, self.port, self.hostname = place.address(2), place.port, "mx.postfix.test"
        self.home = place.room("postfix")
        with ExitStack() as started:
            self._filter = self._start_opendkim(names)
            started.callback(self._filter.stop)
            self._program = self._start_postfix(domains)
            started.pop_all()

    def mail(self) -> list[Delivered]:
        """All that has arrived so far, in order of delivery."""
        files = sorted(self.home.glob("mail/all/new/*"), key=lambda file: file.stat().st_mtime_ns)
        contents = [file.read_bytes() for file in files]
        return [Delivered(_field(raw, b"Delivered-To"), raw) for raw in contents]

    def wait(self, text: str, count: int = 1) -> list[Delivered]:
        """The first `count` messages or more that contain `text`, once they are there."""
        wanted = text.encode()

        def arrived() -> list[Delivered]:
            found = [one for one in self.mail() if wanted in one.raw]
            return found if len(found) >= count else []

        try:
            return wait_for(arrived, f"{count} messages with {text!r} at Postfix")
        except AssertionError as trouble:
            log = (self.home / "mail.log").read_text()[-4000:]
            raise AssertionError(f"{trouble}\n{log}") from None

    def stop(self) -> None:
        subprocess.run(["/usr/sbin/postfix", "-c", self.home, "abort"], capture_output=True, check=False)
        self._program.stop()
        self._filter.stop()

    def _start_opendkim(self, names: NameServer) -> Program:
        folder = self.home / "milter"
        folder.mkdir()
        (self.home / "nobody").write_text("")  # no client is our own: everything is verified
        (self.home / "unbound.conf").write_text(UNBOUND.format(address=names.address, port=names.port))
        conf = self.home / "opendkim.conf"
        conf.write_text(OPENDKIM.format(home=self.home, hostname=self.hostname))
        program = Program(["/usr/sbin/opendkim", "-f", "-x", str(conf)], self.home / "opendkim.log")
        program.wait_until((folder / "socket").exists, "opendkim listens")
        return program

    def _start_postfix(self, domains: list[str]) -> Program:
        for name in ("spool", "data", "mail"):
            (self.home / name).mkdir()
        shutil.chown(self.home / "data", "postfix")
        shutil.chown(self.home / "mail", "nobody")
        (self.home / "tls.pem").write_bytes(certificate(self.hostname))
        (self.home / "tls.pem").chmod(0o600)
        nobody = (self.home / "mail").stat()
        fields = {"home": self.home, "address": self.address, "port": self.port, "hostname": self.hostname,
                  "domains": " ".join(domains), "uid": nobody.st_uid, "gid": nobody.st_gid or nobody.st_uid}
        (self.home / "main.cf").write_text(MAIN.format(**fields))
        (self.home / "master.cf").write_text(MASTER.format(**fields))
        if Path("/etc/postfix/dynamicmaps.cf").exists():
            shutil.copy("/etc/postfix/dynamicmaps.cf", self.home)
        command = ["/usr/sbin/postfix", "-c", str(self.home), "start-fg"]
        program = Program(command, self.home / "postfix.log", start_new_session=True)
        program.wait_until(lambda: listens(self.address, self.port), "Postfix listens")
        return program


def _field(raw: bytes, name: bytes) -> str:
    for line in raw.split(b"\n\n")[0].split(b"\n"):
        if line.lower().startswith(name.lower() + b":"):
            return line.partition(b":")[2].strip().decode()
    return ""
