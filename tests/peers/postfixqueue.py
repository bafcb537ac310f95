"""A Postfix whose mail cannot leave: real queue files, deferred, on hold, half delivered, signed by a milter."""

from __future__ import annotations

import os
import shutil
import smtplib
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.peers.keys import Key
from tests.peers.place import Place, Program, free_port, give_up, listens, need, wait_for
from tests.peers.postfix import MASTER

MORE_SERVICES = """discard unix - - n - - discard
smtp unix - - n - - smtp
"""
MAIN = """compatibility_level = 3.6
myhostname = old.shop.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
queue_directory = {home}/spool
data_directory = {home}/data
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_host_lookup = native
smtp_dns_support_level = disabled
transport_maps = inline:{{ done.test=discard:, stuck.test=smtp:[127.0.0.1]:{dead} }}
virtual_alias_maps = inline:{{ alias@shop.test=real@stuck.test }}
smtpd_sender_restrictions = check_sender_access inline:{{ hold@shop.test=HOLD }}
smtpd_milters = unix:{home}/milter/socket
milter_default_action = tempfail
smtputf8_enable = yes
in_flow_delay = 0
"""
OPENDKIM = """Mode s
Domain signed.test
Selector t1
KeyFile {home}/key.pem
InternalHosts 127.0.0.0/8
RequireSafeKeys no
Socket local:{home}/milter/socket
UMask 000
Background no
Syslog no
"""


class PostfixQueue:
    """Takes mail for done.test (delivered at once) and stuck.test (never); `spool` is its queue directory. Mail from
    signed.test is signed with `key`, selector t1; mail from hold@shop.test is put on hold."""

    def __init__(self, place: Place, key: Key) -> None:
        need("postfix", "opendkim", "postcat")
        if os.geteuid() != 0:
            give_up("Postfix starts only as root")
        self.home = place.room("old")
        self.spool = self.home / "spool"
        self.port = free_port()
        for name in ("spool", "data", "milter"):
            (self.home / name).mkdir()
        shutil.chown(self.home / "data", "postfix")
        (self.home / "key.pem").write_bytes(key.pem)
        (self.home / "opendkim.conf").write_text(OPENDKIM.format(home=self.home))
        (self.home / "main.cf").write_text(MAIN.format(home=self.home, dead=free_port()))
        (self.home / "master.cf").write_text(MASTER.format(address="127.0.0.1", port=self.port) + MORE_SERVICES)
        if Path("/etc/postfix/dynamicmaps.cf").exists():
            shutil.copy("/etc/postfix/dynamicmaps.cf", self.home)
        self._filter = Program(
            ["/usr/sbin/opendkim", "-f", "-x", str(self.home / "opendkim.conf")], self.home / "opendkim.log"
        )
        self._filter.wait_until((self.home / "milter" / "socket").exists, "opendkim listens")
        command = ["/usr/sbin/postfix", "-c", str(self.home), "start-fg"]
        self._program = Program(command, self.home / "postfix.log", start_new_session=True)
        self._program.wait_until(lambda: listens("127.0.0.1", self.port), "Postfix listens")

    def send(
        self, sender: str, recipients: Iterable[str], message: bytes, *, mail: Iterable[str] = (),
        rcpt: Iterable[str] = (),
    ) -> str:  # fmt: skip
        """One message; returns Postfix's queue id."""
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="app.shop.test", timeout=30) as smtp:
            smtp.command_encoding = "utf-8"
            smtp.ehlo()
            assert smtp.mail(sender, list(mail))[0] == 250
            for address in recipients:
                code, words = smtp.rcpt(address, list(rcpt))
                assert code == 250, words
            code, words = smtp.data(message)
            assert code == 250, words
            return words.decode().rpartition(" ")[2]

    def settled(self, *queue_ids: str) -> None:
        """Waits until each is deferred or on hold."""
        for one in queue_ids:
            wait_for(lambda: self.file(one), f"{one} deferred or on hold")  # noqa: B023 (asked at once)

    def file(self, queue_id: str) -> Path | None:
        """Its file, when it is deferred or on hold."""
        return next((one for queue in ("deferred", "hold") for one in self.spool.glob(f"{queue}/**/{queue_id}")), None)

    def postcat(self, path: Path, *options: str) -> bytes:
        """What Postfix's own reader makes of a file."""
        command = ["/usr/sbin/postcat", "-c", str(self.home), *options, str(path)]
        return subprocess.run(command, capture_output=True, check=True).stdout

    def stop(self) -> None:
        """Stops Postfix; its files stay."""
        subprocess.run(["/usr/sbin/postfix", "-c", self.home, "stop"], capture_output=True, check=False)
        self._program.stop()
        self._filter.stop()
