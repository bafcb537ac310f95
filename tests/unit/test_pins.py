"""What the listener leans on in aiosmtpd and asyncio without a promise: another version fails here."""

from __future__ import annotations

import asyncio
import gc
import weakref
from importlib.metadata import version

import aiosmtpd.smtp
import pytest

from relay.inbound.access import Access
from relay.inbound.listener import Listener, bind
from relay.inbound.reception import MemoryBudget, Reception
from relay.inbound.session import VERBS, Session
from relay.inbound.settings import ListenerSettings

SMTP = aiosmtpd.smtp.SMTP
# What asyncio calls on a protocol of a stream: aiosmtpd's and asyncio's own must never run, as their constructors
# did not.
TOLD = {"connection_made", "data_received", "eof_received", "connection_lost", "pause_writing", "resume_writing"}


def test_the_version() -> None:
    assert version("aiosmtpd") == "1.4.6"


@pytest.mark.parametrize("name", sorted(TOLD))
def test_what_the_event_loop_calls_is_ours(name: str) -> None:
    assert hasattr(asyncio.Protocol, name)
    owner = next(one for one in Session.__mro__ if name in vars(one))
    assert owner.__module__.startswith("relay.inbound")


def test_there_is_nothing_else_that_it_calls() -> None:
    assert {name for name in dir(asyncio.Protocol) if not name.startswith("_")} == TOLD


def test_the_end_of_a_session_misses_nothing_that_a_constructor_sets() -> None:
    assert SMTP.__del__.__code__.co_names[:1] == ("getattr",)  # of _closed, or None
    assert not hasattr(SMTP, "_closed")


def test_a_session_that_has_ended_is_no_cycle() -> None:
    """Thousands of them would wait for the garbage collector (relay/service/garbage.py)."""

    async def made() -> weakref.ref[Session]:
        access = Access()
        access.close()
        reception = Reception(ListenerSettings("a", "h"), access, None, budget=MemoryBudget(1))  # type: ignore[arg-type]
        listener = Listener(reception, bind(["127.0.0.1:0"]))
        await listener.start()
        reader, writer = await asyncio.open_connection(*listener.addresses[0])
        await reader.readline()
        seen = weakref.ref(next(iter(reception.sessions)))
        writer.write(b"EHLO x\r\nQUIT\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        await listener.close()
        return seen  # type: ignore[return-value]

    gc.disable()
    try:
        seen = asyncio.run(made())
        assert seen() is None
    finally:
        gc.enable()


def test_every_stock_verb_is_replaced() -> None:
    for name in vars(SMTP):
        if name.startswith("smtp_") and name != "smtp_EXPN":
            assert getattr(Session, name) is not getattr(SMTP, name), name
            assert name.removeprefix("smtp_") in VERBS
