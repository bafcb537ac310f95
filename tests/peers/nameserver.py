"""A real name server (NSD) for zones a test writes."""

from __future__ import annotations

from tests.peers.place import Place, Program, free_port, listens, need

CONF = """server:
  ip-address: {address}@{port}
  do-ip6: no
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{home}"
  database: ""
  pidfile: "{home}/nsd.pid"
  xfrdfile: "{home}/xfrd.state"
  zonelistfile: "{home}/zone.list"
  xfrdir: "{home}"
  logfile: ""
  verbosity: 1
  rrl-ratelimit: 0
  hide-version: yes
remote-control:
  control-enable: no
{zones}"""
HEAD = """$ORIGIN {name}.
$TTL 60
@ SOA ns hostmaster 1 60 60 60 60
@ NS ns
ns A {address}
"""


class NameServer:
    """NSD on address:port. `zones` maps a zone's name to its records in master file form without SOA and
    NS. A zone whose records are None is configured but has no file: it answers SERVFAIL."""

    def __init__(self, place: Place, zones: dict[str, str | None]) -> None:
        need("nsd")
        self.address, self.port = place.address(1), free_port(place.address(1))
        self.home = place.room("nsd")
        for name, records in zones.items():
            if records is not None:
                head = HEAD.format(name=name, address=self.address)
                (self.home / f"{name}.zone").write_text(head + records)
        blocks = "".join(f'zone:\n  name: "{name}"\n  zonefile: "{name}.zone"\n' for name in zones)
        conf = self.home / "nsd.conf"
        conf.write_text(CONF.format(address=self.address, port=self.port, home=self.home, zones=blocks))
        self._program: Program | None = None
        self.start()

    @property
    def server(self) -> str:
        """The entry for `dns.servers`."""
        return f"{self.address}:{self.port}"

    def start(self) -> None:
        """Serves, again after `stop`."""
        command = ["/usr/sbin/nsd", "-d", "-c", str(self.home / "nsd.conf")]
        self._program = Program(command, self.home / "log")
        self._program.wait_until(lambda: listens(self.address, self.port), "nsd answers")

    def stop(self) -> None:
        """Ends; questions are refused by the kernel."""
        assert self._program is not None
        self._program.stop()


def txt(record: str) -> str:
    """A TXT value of any length as the quoted strings of a master file."""
    return " ".join(f'"{record[at : at + 200]}"' for at in range(0, len(record), 200))
