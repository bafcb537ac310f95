"""The Internet of the peers: every domain a scenario speaks of, and what is odd about it.

Addresses are numbers in the run's own loopback network: 2 is Postfix, 10 to 119 are receivers a test may
start, 250 is an address nobody listens on.
"""

from __future__ import annotations

from tests.peers.keys import Key
from tests.peers.place import Place

MANY = 1000


def zones(place: Place, keys: dict[str, Key]) -> dict[str, str | None]:
    """Zone name to records, for NameServer."""
    receivers = "".join(f"r{n} MX 10 mx.r{n}\nmx.r{n} A {place.address(n)}\n" for n in range(10, 120))
    many = "".join(f"many MX 10 mx{n}.many\nmx{n}.many A {place.address(10)}\n" for n in range(MANY))
    return {
        "postfix.test": f"@ MX 10 mx\nmx A {place.address(2)}\n",
        "second.test": "@ MX 10 mx.postfix.test.\n",
        # The senders' own domain: reports go there, and its keys are there.
        "shop.test": "@ MX 10 mx.postfix.test.\n" + "".join(key.zone_line for key in keys.values()),
        "odd.test": f"""
null MX 0 .
implicit A {place.address(10)}
backup MX 10 dead.backup
backup MX 20 live.backup
dead.backup A {place.address(250)}
live.backup A {place.address(10)}
private MX 10 mx.private
mx.private A 10.255.255.1
mapped MX 10 mx.mapped
mx.mapped AAAA ::ffff:10.255.255.1
alias CNAME r10.receivers.test.
aliasmx MX 10 alias.aliasmx
alias.aliasmx CNAME mx.r10.receivers.test.
literal MX 10 10.0.0.1.
nothing TXT "no mail here"
unreachable MX 10 mx.unreachable
unaddressed MX 10 mx.unaddressed
mx.unreachable A {place.address(250)}
halfbroken MX 10 mx.broken.test.
self MX 10 relay.shop.test.
{many}""",
        "receivers.test": receivers,
        "broken.test": None,
    }
