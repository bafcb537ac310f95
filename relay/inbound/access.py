"""Who may send, and as whom: credentials, sender rights, and the price of guessing.

Passwords are checked in threads, a few at a time: argon2 takes 20 ms by design. A password that proved
right is remembered as an HMAC under a key of this process, so that a client that logs in for every message
does not pay each time; reloading credentials forgets all of them.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from relay.core.envelope import Client
from relay.core.pattern import Pattern, compile_pattern
from relay.core.reply import Reply
from relay.inbound.backoff import Backoff
from relay.inbound.credentials import HASHER, Credential, verify
from relay.inbound.refusals import Refused
from relay.inbound.settings import neighbourhood, within

MAX_PROVED = 10_000
PROVED_S = 3600.0  # how long a proof lasts without asking argon2 again
MAX_CHECKS = 64  # begun or waiting; beyond it a login is told to come back: each takes 19 MiB and 20 ms
MAX_PASSWORD_BYTES = 1024
NO_ACCOUNT = HASHER.hash(secrets.token_urlsafe())  # an unknown account costs what a known one costs


class Guessing(Protocol):
    """A Backoff, of this process or of all."""

    async def wait_s(self, keys: tuple[str, ...]) -> float | None: ...

    def failed(self, keys: tuple[str, ...]) -> None: ...

    def succeeded(self, key: str) -> None: ...


class Guesses:
    """The Backoff of this process."""

    def __init__(self, backoff: Backoff, clock: Callable[[], float]) -> None:
        self._backoff, self._clock = backoff, clock
        self.succeeded = backoff.succeeded

    async def wait_s(self, keys: tuple[str, ...]) -> float | None:
        """Seconds until a password may be checked; None: not now."""
        return self._backoff.wait_s(keys, self._clock())

    def failed(self, keys: tuple[str, ...]) -> None:
        """Counts a wrong password."""
        self._backoff.failed(keys, self._clock())


class Checking(Protocol):
    """Password checks in progress, of this process or of all."""

    def take(self, most: int) -> bool: ...

    def give(self) -> None: ...


class Checks:
    """Those of this process; relay/inbound/board.py counts over several."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, most: int) -> bool:
        """Counts one more; False, and nothing counted, when there are `most` already."""
        if self.count >= most:
            return False
        self.count += 1
        return True

    def give(self) -> None:
        """Counts it off."""
        self.count -= 1


class Access:
    """Credentials and rights shared by all listeners. `senders`: globs by listener name; `guesses` counts wrong
    passwords and `checks` those being checked, here unless somebody else does it for several processes."""

    def __init__(
        self,
        credentials: Mapping[str, Credential] | None = None,
        *,
        senders: Mapping[str, tuple[str, ...]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        threads: int = 2,
        guesses: Guessing | None = None,
        checks: Checking | None = None,
    ) -> None:
        self.credentials: Mapping[str, Credential] = {}
        self.senders: Mapping[str, tuple[str, ...]] = {}
        self.backoff = Backoff()
        self.guesses = guesses or Guesses(self.backoff, clock)
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._proved: OrderedDict[bytes, float] = OrderedDict()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self.checks = checks or Checks()
        self.replace(credentials or {}, senders or {})

    def replace(self, credentials: Mapping[str, Credential], senders: Mapping[str, tuple[str, ...]]) -> None:
        """Takes new credentials and rights at once; proofs of before count no longer."""
        self.credentials, self.senders = dict(credentials), dict(senders)
        self._proved.clear()

    def close(self) -> None:
        """Lets the threads go; checks under way are finished first."""
        self._executor.shutdown(wait=True)

    async def authenticate(self, name: str, password: str, address: str) -> Credential:
        """The credential that `name` and `password` prove, for a client at this IP address.

        Raises Refused: auth-failed for a wrong name, password or network (which of them is not told, and
        takes the same time), auth-throttled when address or account failed too often lately."""
        credential = self.credentials.get(name)
        hashed = credential.hash if credential else NO_ACCOUNT
        proof = self._proof(name, password, hashed)
        if credential and self._is_proved(proof) and _at_home(credential, address):
            return credential
        keys = (f"a:{neighbourhood(address)}", f"n:{name[:128]}")
        wait_s = await self.guesses.wait_s(keys)
        if wait_s is None:
            raise Refused("auth-throttled")
        await asyncio.sleep(wait_s)
        if not self.checks.take(MAX_CHECKS):
            raise Refused("auth-throttled")
        try:
            right = await self._check(hashed, password)
        finally:
            self.checks.give()
        if not right or credential is None or not _at_home(credential, address):
            self.guesses.failed(keys)
            raise Refused("auth-failed")
        if self.credentials.get(name) is credential:  # not when a reload took it away meanwhile
            self._remember(proof)
        self.guesses.succeeded(keys[1])
        return credential

    async def _check(self, hashed: str, password: str) -> bool:
        if len(password.encode("utf-8", "surrogateescape")) > MAX_PASSWORD_BYTES:
            return False
        try:
            password.encode()
        except UnicodeEncodeError:  # bytes that were not UTF-8: no password of ours
            return False
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, verify, hashed, password)

    def _proof(self, name: str, password: str, hashed: str) -> bytes:
        """A fingerprint of the three that is worth nothing outside this process."""
        parts = [text.encode("utf-8", "surrogateescape") for text in (name, hashed, password)]
        message = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self._key, message, hashlib.sha256)

    def _is_proved(self, proof: bytes) -> bool:
        until = self._proved.get(proof)
        return until is not None and self._clock() < until

    def _remember(self, proof: bytes) -> None:
        self._proved[proof] = self._clock() + PROVED_S
        self._proved.move_to_end(proof)
        if len(self._proved) > MAX_PROVED:
            self._proved.popitem(last=False)

    def holds(self, credential: Credential) -> bool:
        """Whether a credential that was proved before is still in the file, with the same password."""
        now = self.credentials.get(credential.name)
        return now is not None and now.hash == credential.hash

    def check_sender(self, listener: str, credential: str, address: str) -> None:
        """Raises Refused unless this envelope sender may be used; the null sender always may, as reports
        carry it (RFC 5321 §4.5.5)."""
        if address:
            self._demand("sender-denied", listener, credential, address)

    def check_from(self, client: Client, address: str) -> Reply | None:
        """The reply to refuse a message with whose From field holds this address, None when it may."""
        try:
            self._demand("from-denied", client.listener, client.credential, address)
        except Refused as refused:
            return refused.reply
        return None

    def _demand(self, reason: str, listener: str, credential: str, address: str) -> None:
        """Listener and credential are two fences: an address must be inside both."""
        if not credential and listener not in self.senders:
            return
        account = self.credentials.get(credential)
        fences = (self.senders.get(listener, ()), account.senders if account else ())
        for globs in fences:
            if globs and not any(pattern.matches(address) for pattern in _patterns(globs)):
                raise Refused(reason, address=address or "no address", allowed=", ".join(globs))
        if credential and account is None:  # taken away by a reload while its session lives
            raise Refused(reason, address=address, allowed="nothing, the credential is gone")


def _at_home(credential: Credential, address: str) -> bool:
    return not credential.networks or within(address, credential.networks)


@functools.lru_cache(maxsize=1024)
def _patterns(globs: tuple[str, ...]) -> tuple[Pattern, ...]:
    return tuple(compile_pattern(glob) for glob in globs)
