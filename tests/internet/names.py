"""A small authoritative name server for the model's names: MX and A over UDP (RFC 1035), nothing else."""

from __future__ import annotations

import asyncio
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

TTL_S = 60


class Names(asyncio.DatagramProtocol):
    """`mx` maps a domain to its hosts in order of preference, `addresses` a host to its address."""

    def __init__(self, mx: dict[str, list[str]], addresses: dict[str, str]) -> None:
        self._mx, self._addresses = mx, addresses

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        self._transport.sendto(self.answer(query).to_wire(), peer)

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The records of a known name, none of a kind it does not have; NXDOMAIN for a name nobody has."""
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), question.rdtype.name
        if name not in self._mx and name not in self._addresses:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif kind == "MX" and name in self._mx:
            records = [f"{10 * (1 + nth)} {host}." for nth, host in enumerate(self._mx[name])]
            answer.answer.append(dns.rrset.from_text(question.name, TTL_S, "IN", "MX", *records))
        elif kind == "A" and name in self._addresses:
            answer.answer.append(dns.rrset.from_text(question.name, TTL_S, "IN", "A", self._addresses[name]))
        return answer
