"""Making contact: host after host, and TLS that fails and is done without."""

import asyncio
import errno

import pytest

from relay.core.outcome import Outcome, Trouble
from relay.deliver.connection import Connection
from relay.deliver.contact import Contact
from relay.deliver.resolve import Host, Route
from relay.deliver.settings import DeliverySettings
from relay.deliver.targets import TargetGuard
from relay.policy.model import Source
from relay.smtp.client import StartTls
from tests.unit.delivery_stage import EHLO, JumpingLoop, Receiver, Wire
from tests.unit.test_deliver_connection import Work

T1 = Source("t1")
GUARD = TargetGuard(("192.0.2.0/24", "2001:db8::/32"))  # for documentation, so no real target (RFC 5737)


class Network(JumpingLoop):
    """A loop on whose network each address is a receiver, an exception, or nothing at all."""

    def __init__(self, hosts: dict[str, object]) -> None:
        super().__init__()
        self.hosts, self.tls, self.dialled = hosts, None, []

    async def create_connection(self, factory, address, port, *, local_addr=None):
        self.dialled.append((address, local_addr))
        found = self.hosts.get(address)
        if found is None:
            await asyncio.Event().wait()
        if isinstance(found, Exception):
            raise found
        connection = factory()
        return Wire(found, connection), connection

    async def start_tls(self, transport, protocol, context, **settings):
        await asyncio.sleep(1)
        if isinstance(self.tls, Exception):
            raise self.tls
        return self.tls


def reach(hosts, *, starttls=StartTls.OPPORTUNISTIC, tls=None, source=T1, work=None, addresses=None):
    """(what came of it, addresses dialled, what was told of failures)."""
    told = []
    network = Network(hosts)
    network.tls = tls

    async def scenario():
        names = addresses or tuple(hosts)
        route = Route("example.net", tuple(Host(f"mx{n}.example.net", n, (one,)) for n, one in enumerate(names)))
        context = type("Context", (), {"check_hostname": False})()
        contact = Contact(
            source, route, "everyone", starttls, DeliverySettings("relay.example.com"), GUARD, context,
            work or Work(), lambda peer, outcome: told.append((peer.address, outcome.trouble)),
        )  # fmt: skip
        return await contact.make()

    with asyncio.Runner(loop_factory=lambda: network) as runner:
        return runner.run(scenario()), network.dialled, told


def test_the_second_host_is_tried_when_the_first_refuses():
    refusing = ConnectionRefusedError(errno.ECONNREFUSED, "no")
    found, dialled, told = reach({"192.0.2.1": refusing, "192.0.2.2": Receiver()})
    assert isinstance(found, Connection)
    assert [one for one, _ in dialled] == ["192.0.2.1", "192.0.2.2"]
    assert told == [("192.0.2.1", Trouble.CONNECT_REFUSED)]


def test_a_host_that_does_not_answer_costs_half_a_minute():
    found, _, told = reach({}, addresses=("192.0.2.1",))
    assert isinstance(found, Outcome)
    assert found.trouble is Trouble.CONNECT_TIMEOUT
    assert told == [("192.0.2.1", Trouble.CONNECT_TIMEOUT)]


@pytest.mark.parametrize("failure", [ConnectionResetError("reset"), TimeoutError(), None])
def test_a_handshake_that_fails_is_followed_by_clear_text_to_the_same_host(failure):
    offering = Receiver(ehlo=[*EHLO, "STARTTLS"], STARTTLS="220 go on")
    found, dialled, told = reach({"192.0.2.1": offering}, tls=failure)
    assert isinstance(found, Connection)
    assert found.tls_version == ""
    assert [one for one, _ in dialled] == ["192.0.2.1", "192.0.2.1"]
    assert told == [("192.0.2.1", Trouble.TLS_HANDSHAKE)]


def test_where_tls_is_required_a_failed_handshake_is_the_end():
    offering = Receiver(ehlo=[*EHLO, "STARTTLS"], STARTTLS="220 go on")
    found, dialled, _ = reach({"192.0.2.1": offering}, tls=ConnectionResetError("reset"), starttls=StartTls.REQUIRED)
    assert isinstance(found, Outcome)
    assert found.trouble is Trouble.TLS_HANDSHAKE
    assert len(dialled) == 1


def test_bytes_in_clear_behind_the_reply_to_starttls_end_the_session_and_nothing_else():
    talking = Receiver(ehlo=[*EHLO, "STARTTLS"], STARTTLS="220 go on\r\n250 pipelined by someone else")
    found, _, told = reach({"192.0.2.1": talking, "192.0.2.2": Receiver()})
    assert isinstance(found, Connection)
    assert told == [("192.0.2.1", Trouble.PROTOCOL)]


def test_a_host_that_hangs_up_the_moment_it_is_ready_is_no_connection():
    ehlo = "\r\n".join(f"250{'-' if one != EHLO[-1] else ' '}{one}" for one in EHLO)
    found, _, told = reach({"192.0.2.1": Receiver(EHLO=f"{ehlo}\r\n421 4.3.2 not today"), "192.0.2.2": Receiver()})
    assert isinstance(found, Connection)
    assert found.peer.address == "192.0.2.2"
    assert told == [("192.0.2.1", Trouble.LOST)]


def test_a_source_address_that_is_not_ours_ends_the_cycle():
    wrong = OSError(errno.EADDRNOTAVAIL, "not here")
    found, dialled, _ = reach({"192.0.2.1": wrong, "192.0.2.2": Receiver()}, source=Source("t1", "198.51.100.1"))
    assert isinstance(found, Outcome)
    assert found.trouble is Trouble.SOURCE_UNUSABLE
    assert dialled == [("192.0.2.1", ("198.51.100.1", 0))]


def test_a_private_address_is_not_dialled():
    found, dialled, told = reach({"127.0.0.1": Receiver()})
    assert isinstance(found, Outcome)
    assert not dialled
    assert told == [("127.0.0.1", Trouble.TARGET_FORBIDDEN)]


def test_a_source_of_one_family_reaches_addresses_of_that_family_only():
    hosts = {"192.0.2.1": Receiver(), "2001:db8::1": Receiver()}
    _, dialled, _ = reach(hosts, source=Source("t1", "", "2001:db8::99"))
    assert [one for one, _ in dialled] == ["2001:db8::1"]
