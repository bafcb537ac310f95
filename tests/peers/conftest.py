"""Peers shared by the tests of a run: a name server, Postfix with OpenDKIM, keys. Started when asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.keys import Key, ed25519_key, rsa_key
from tests.peers.nameserver import NameServer
from tests.peers.place import Place
from tests.peers.postfix import Postfix
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
