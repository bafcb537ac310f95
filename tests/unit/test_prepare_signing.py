"""The signing desk: ordinary messages at once, large ones in a thread of their own."""

import asyncio
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.core.content import Content, MemoryBody
from relay.core.headers import Headers
from relay.prepare.dkim import Signer
from relay.prepare.signing import LOOP_BYTES, SigningDesk

KEY = Signer("example.com", "t1", Ed25519PrivateKey.generate())
HEADER = b"From: a@example.com\r\n"


@pytest.fixture
def desk():
    desk = SigningDesk(clock=lambda: 1_793_611_800.0)
    yield desk
    desk.close()


class Watched:
    """A body that remembers the thread that read it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.thread = ""

    def chunks(self):
        self.thread = threading.current_thread().name
        yield b"x" * (self.size - 2) + b"\r\n"


@pytest.mark.parametrize(("size", "thread"), [(LOOP_BYTES, "MainThread"), (LOOP_BYTES + 1, "signing_0")])
def test_where_it_is_signed(desk, size, thread):
    content = Content(HEADER, Watched(size), eight_bit=True)
    signed = asyncio.run(desk.sign(content, Headers.parse(HEADER), [KEY]))
    assert content.body.thread == thread
    assert signed.body is content.body
    assert signed.eight_bit
    assert signed.header.startswith(b"DKIM-Signature: v=1; a=ed25519-sha256;")
    assert signed.header.endswith(HEADER)
    assert b"t=1793611800;" in signed.header


def test_without_a_signer_nothing_happens(desk):
    content = Content(HEADER, MemoryBody(b"x\r\n"))
    assert asyncio.run(desk.sign(content, Headers.parse(HEADER), [])) is content


def test_a_body_that_cannot_be_read_is_the_callers_trouble(desk):
    class Gone(Watched):
        def chunks(self):
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        asyncio.run(desk.sign(Content(HEADER, Gone(LOOP_BYTES + 1)), Headers.parse(HEADER), [KEY]))


def test_large_messages_do_not_hold_the_loop(desk):
    """While one waits in the thread, others are signed."""
    gate = threading.Event()

    class Slow(Watched):
        def chunks(self):
            assert gate.wait(5)
            yield b"x\r\n"

    async def both() -> list[str]:
        order = []

        async def one(name: str, body) -> None:
            await desk.sign(Content(HEADER, body), Headers.parse(HEADER), [KEY])
            order.append(name)
            gate.set()

        await asyncio.gather(one("large", Slow(LOOP_BYTES + 1)), one("small", MemoryBody(b"x\r\n")))
        return order

    assert asyncio.run(both()) == ["small", "large"]


def test_other_long_work_goes_the_same_way(desk):
    assert asyncio.run(desk.apart(lambda: threading.current_thread().name)) == "signing_0"
