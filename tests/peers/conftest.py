"""Peers shared by the tests of a run: a name server, Postfix with OpenDKIM, keys. Started when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.internet.behaviour import Provider
from tests.internet.internet import Internet
from tests.peers.keys import Key, ed25519_key, rsa_key
from tests.peers.nameserver import NameServer
from tests.peers.place import Place
from tests.peers.postfix import Postfix
from tests.peers.receiver import Receiver
from tests.peers.relay import Relay
from tests.peers.zones import zones


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    room = Place()
    yield room
    room.close()


@pytest.fixture(scope="session")
def keys() -> dict[str, Key]:
    """Signing keys of shop.test, by selector."""
    return {"t1": rsa_key("t1"), "t1e": ed25519_key("t1e")}


@pytest.fixture(scope="session")
def names(place: Place, keys: dict[str, Key]) -> Iterator[NameServer]:
    server = NameServer(place, zones(place, keys))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postfix(place: Place, names: NameServer) -> Iterator[Postfix]:
    server = Postfix(place, names, ["postfix.test", "second.test", "shop.test"])
    yield server
    server.stop()


@pytest.fixture
def relay(
    internet: object, place: Place, names: NameServer, keys: dict[str, Key]
) -> Iterator[Callable[..., Relay]]:
    """Starts relays, in a model Internet where one is given, or with `started=False` makes them ready for it; each
    must end cleanly on SIGTERM with its accounts balanced."""
    made: list[Relay] = []

    def start(internet: Internet | None = None, *, started: bool = True, **settings: Any) -> Relay:
        where, asks = (internet.place, internet) if internet is not None else (place, names)
        made.append(Relay(where, asks, keys, **settings))
        return made[-1].start() if started else made[-1]

    yield start
    for one in made:
        if one.program is not None:
            gap = one.total("relay_accounting_gap")
            one.stop()
            assert gap == 0


@pytest.fixture
def internet() -> Iterator[Callable[..., Internet]]:
    """Starts model Internets, each in a network of its own: `internet(Provider(...), ...)`."""
    started: list[Internet] = []

    def start(*providers: Provider) -> Internet:
        started.append(Internet(Place(), providers))
        return started[-1]

    yield start
    for one in started:
        one.stop()
        one.place.close()


@pytest.fixture
def receive(place: Place) -> Iterator[Callable[..., Receiver]]:
    """Starts scripted receivers: `receive(10)` is the MX of r10.receivers.test."""
    started: list[Receiver] = []

    def start(number: int = 10, answers: dict[str, Any] | None = None, **options: Any) -> Receiver:
        started.append(Receiver(place.address(number), place.port, answers, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()
