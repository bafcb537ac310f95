"""A listener with a recording `accept`, on a loopback port, for tests that speak real SMTP to it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import datetime
import functools
import ipaddress
import shutil
import socket
import ssl
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from relay.core.envelope import Submission
from relay.core.events import Event
from relay.core.reply import Reply, reply
from relay.inbound.access import Access
from relay.inbound.credentials import Credential, hash_password
from relay.inbound.listener import Listener, bind
from relay.inbound.reception import MemoryBudget, Reception
from relay.inbound.settings import ListenerSettings, networks
from relay.inbound.tls import server_context
from relay.queue.spool import Spool

LOOPBACK = ("127.0.0.0/8", "::1/128")
WAIT_S = 10.0


@functools.cache
def certificate() -> tuple[str, str]:
    """Paths of a self-signed certificate and its key, made once for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="relay-test-tls-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "key.pem").chmod(0o600)
    return str(folder / "cert.pem"), str(folder / "key.pem")


@functools.cache
def hashed(password: str) -> str:
    return hash_password(password)


def accounts() -> dict[str, Credential]:
    """shop may send as its own domain, printer from anywhere as anyone, far only from another network."""
    return {
        "shop": Credential("shop", hashed("open sesame"), senders=("*@shop.example.com",)),
        "printer": Credential("printer", hashed("ink")),
        "far": Credential("far", hashed("away"), networks=networks(["192.0.2.0/24"])),
    }


def client_context(*, old: bool = False) -> ssl.SSLContext:
    """A client that believes any certificate; `old` offers TLS 1.0 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if old:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@dataclass
class Ears:
    """What the listener tells: `mail` it accepted, `events` of refusals. `after` runs inside accept and may
    give another reply."""

    mail: list[Submission] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    after: Callable[[Submission], Awaitable[Reply | None]] | None = None

    async def accept(self, submission: Submission) -> Reply:
        answer = await self.after(submission) if self.after else None
        if answer is None:
            self.mail.append(submission)
            answer = reply(250, "2.0.0", f"Ok: queued as {submission.id}")
        return answer


@dataclass
class Stage:
    """One listener and what is heard from it."""

    reception: Reception
    listener: Listener
    ears: Ears

    @property
    def port(self) -> int:
        return self.listener.addresses[0][1]

    @property
    def mail(self) -> list[Submission]:
        return self.ears.mail

    @property
    def events(self) -> list[Event]:
        return self.ears.events

    @property
    def reasons(self) -> list[object]:
        return [event.detail["reason"] for event in self.ears.events]

    async def connect(self) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return Peer(reader, writer)


@dataclass
class Peer:
    """A client, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> str:
        """The next reply line without its end, "" at the end of the connection."""
        data = await asyncio.wait_for(self.reader.readline(), WAIT_S)
        assert not data or data.endswith(b"\r\n"), data
        return data[:-2].decode("ascii")

    async def reply(self) -> list[str]:
        """A whole reply, its lines."""
        lines = [await self.line()]
        while lines[-1][3:4] == "-":
            lines.append(await self.line())
        return lines

    async def ask(self, command: str) -> str:
        """Sends a command and returns the last line of the reply."""
        self.send(command.encode("utf-8", "surrogateescape") + b"\r\n")
        return (await self.reply())[-1]

    async def greet(self, name: str = "client.example") -> list[str]:
        await self.reply()
        self.send(f"EHLO {name}\r\n".encode())
        return await self.reply()

    async def greet_again(self, name: str = "client.example") -> list[str]:
        self.send(f"EHLO {name}\r\n".encode())
        return await self.reply()

    async def starttls(self, context: ssl.SSLContext) -> None:
        await asyncio.wait_for(
            self.writer.start_tls(context, server_hostname="relay.test", ssl_handshake_timeout=WAIT_S), WAIT_S
        )
        self.reader._transport = self.writer.transport  # type: ignore[attr-defined]

    def version(self) -> str:
        return str(self.writer.get_extra_info("ssl_object").version())

    def reset(self) -> None:
        """Ends with RST, as pooled .NET clients do."""
        plug = self.writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    async def end(self) -> bytes:
        """Everything that still comes, until the server closes."""
        try:
            return await asyncio.wait_for(self.reader.read(), WAIT_S)
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def stage(
    *, memory: int = 100_000_000, spool: Path | None = None, **given: object
) -> AsyncIterator[Stage]:
    """A running listener; keywords are fields of ListenerSettings over friendly defaults."""
    chosen: dict[str, object] = {"name": "apps", "hostname": "relay.test"}
    chosen |= {"postmaster": "postmaster@example.com"}
    chosen |= {"networks": networks(LOOPBACK)} | given
    settings = ListenerSettings(**chosen)  # type: ignore[arg-type]
    access = Access(accounts(), senders={settings.name: settings.senders})
    tls = server_context(*certificate(), profile=settings.profile) if settings.tls != "none" else None
    ears = Ears()
    reception = Reception(
        settings, access, ears.accept, budget=MemoryBudget(memory),
        spool=Spool(spool) if spool else None, tls=tls,
        notify=ears.events.append,
    )  # fmt: skip
    one = Stage(reception, Listener(reception, bind(["127.0.0.1:0"])), ears)
    await one.listener.start()
    try:
        yield one
    finally:
        await one.listener.close()
        access.close()
        assert not reception.sessions
        assert reception.budget.used == 0, "memory was not given back"


async def until(condition: Callable[[], object], wait_s: float = WAIT_S) -> None:
    """Waits for a condition of the listener; polls, as the test stands outside it."""
    for _ in range(int(wait_s / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")
