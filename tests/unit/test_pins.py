"""What the listener leans on in aiosmtpd and asyncio without a promise: another version fails here."""

from __future__ import annotations

import asyncio
import inspect
from importlib.metadata import version

import aiosmtpd.smtp
import pytest

from relay.inbound.access import Access
from relay.inbound.connection import Connection
from relay.inbound.reception import MemoryBudget, Reception
from relay.inbound.session import VERBS, Session
from relay.inbound.settings import ListenerSettings

SMTP = aiosmtpd.smtp.SMTP
# Set by aiosmtpd's constructor, used only by methods that the session replaces.
REPLACED = {
    "_SMTP__ident__",
    "__ident__",
    "_auth_callback",
    "_auth_methods",
    "_auth_require_tls",
    "_auth_required",
    "_authenticator",
    "_decode_data",
    "_ehlo_hook_ver",
    "_enforce_call_limit",
    "_handle_hooks",
    "_proxy_timeout",
    "_smtp_methods",
    "_tls_handshake_okay",
    "_tls_protocol",
    "data_size_limit",
    "enable_SMTPUTF8",
    "event_handler",
    "require_starttls",
    "tls_context",
    "_timeout_duration",
    "_call_limit_base",
    "_call_limit_default",
}
# Methods of aiosmtpd that the session keeps.
KEPT = {"connection_made", "_create_session", "_cb_client_connected", "__del__"}


def made() -> tuple[set[str], set[str]]:
    async def both() -> tuple[set[str], set[str]]:
        loop = asyncio.get_running_loop()
        access = Access()
        reception = Reception(ListenerSettings("a", "h"), access, None, budget=MemoryBudget(1))  # type: ignore[arg-type]
        stock = SMTP(object(), hostname="h", loop=loop)
        ours = Session(reception, loop)
        access.close()
        return set(vars(stock)), set(vars(ours))

    return asyncio.run(both())


def test_the_version() -> None:
    assert version("aiosmtpd") == "1.4.6"


def test_every_attribute_of_the_stock_constructor_is_set_or_known_to_be_unused() -> None:
    stock, ours = made()
    assert stock - ours <= REPLACED


def test_the_methods_kept_use_nothing_that_is_not_set() -> None:
    _, ours = made()
    for name in KEPT:
        used = set(getattr(SMTP, name).__code__.co_names)
        assert not used & (REPLACED - ours) - {"_handle_hooks", "_tls_handshake_okay", "_tls_protocol"}, name


def test_nothing_cancels_a_session_that_may_be_storing_a_message() -> None:
    for cls in (SMTP, asyncio.StreamReaderProtocol):
        for name, method in vars(cls).items():
            if "_handler_coroutine.cancel" in (inspect.getsource(method) if inspect.isfunction(method) else ""):
                assert getattr(Session, name) is not method, name


def test_the_starttls_branch_of_connection_made_is_never_taken() -> None:
    source = inspect.getsource(SMTP.connection_made)
    assert "seen_starttls = (self._original_transport is not None)" in source
    assert "self.transport is not None and seen_starttls" in source
    assert "self._handle_client()" in source
    assert "_original_transport = None" in inspect.getsource(Connection.__init__)


def test_every_stock_verb_is_replaced() -> None:
    for name in vars(SMTP):
        if name.startswith("smtp_") and name != "smtp_EXPN":
            assert getattr(Session, name) is not getattr(SMTP, name), name
            assert name.removeprefix("smtp_") in VERBS


@pytest.mark.parametrize("name", ["_buffer", "_transport"])
def test_stream_readers_have_the_attributes_used(name: str) -> None:
    async def look() -> bool:
        return hasattr(asyncio.StreamReader(), name)

    assert asyncio.run(look())


def test_stream_writers_can_start_tls() -> None:
    assert "ssl_handshake_timeout" in inspect.signature(asyncio.StreamWriter.start_tls).parameters
    assert "_replace_writer" in inspect.getsource(asyncio.StreamWriter.start_tls)


def test_writing_waits_only_where_asyncio_would() -> None:
    assert "if not self._paused:" in inspect.getsource(asyncio.streams.FlowControlMixin._drain_helper)


def test_what_comes_goes_to_the_reader() -> None:
    assert "reader.feed_data(data)" in inspect.getsource(asyncio.StreamReaderProtocol.data_received)
