"""Dialogues as text files: what a client says, what the relay must answer, what must have arrived.

# a comment
! tls: starttls            a field of ListenerSettings (networks: may be several, none: nobody)
! accept: raise            what `accept` does: raise, or a reply as "452 4.3.1 full"
S: 220 relay.test *        the next reply line; * stands for anything, ~ begins a regular expression
C: EHLO client             a line, sent with CRLF
S+ 250-PIPELINING          the whole next reply has this line (more S+ and S- speak of the same reply)
S- 250-AUTH*               ... and has not this one
C\\ a\\nb\\r\\n                bytes with Python's escapes, nothing added
C* 300 text                the line 300 times
X: starttls                starttls, oldtls, half-close, close, reset, end (the server must close)
= messages: 1              how many were accepted; then, of the last of them:
= sender recipients helo protocol credential profile tls body utf8 ret envid: VALUE
= notify ADDRESS: VALUES   = orcpt ADDRESS: VALUE
= contains: BYTES          = lacks: BYTES        (with escapes)
= refused: REASON REASON   the reasons of all refusals, in order
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from relay.core.envelope import Submission
from relay.core.reply import Reply, reply
from relay.inbound.settings import networks
from tests.dialogues.stage import Peer, Stage, client_context, stage, until

NUMBERS = {"max_recipients", "max_errors", "max_message_bytes", "max_header_bytes", "max_idle_commands"}
SECONDS = {"idle_timeout_s", "data_timeout_s", "data_grace_s", "data_min_bytes_per_s", "tls_handshake_s"}
TEXTS = {"accepts", "tls", "auth", "profile", "postmaster", "hostname", "name"}


Line = tuple[int, str, str]


def read(path: Path) -> list[Line]:
    """Steps as (line number, kind, text)."""
    steps = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, text = line[:2], line[2:].removeprefix(" ")
        assert kind in {"! ", "S:", "S+", "S-", "C:", "C\\", "C*", "X:", "= "}, (
            f"{path.name}:{number}: {line}"
        )
        if kind in {"! ", "= "}:
            text = line[2:].strip()
        steps.append((number, kind, text))
    assert any(kind == "= " for _, kind, _ in steps), f"{path.name} asserts nothing at its end"
    return steps


def settings(steps: list[Line]) -> tuple[dict[str, object], str]:
    """The listener's settings and what accept does."""
    given: dict[str, object] = {}
    accept = ""
    for _, kind, text in steps:
        if kind != "! ":
            continue
        key, _, value = text.partition(":")
        value = value.strip()
        if key == "accept":
            accept = value
        elif key == "networks":
            given[key] = () if value == "none" else networks(value.split())
        elif key == "senders":
            given[key] = tuple(value.split())
        elif key in NUMBERS:
            given[key] = int(value)
        elif key in SECONDS:
            given[key] = float(value)
        else:
            assert key in TEXTS, f"unknown setting {key}"
            given[key] = value
    return given, accept


async def play(path: Path) -> None:
    """Runs one file; an AssertionError names file and line."""
    steps = read(path)
    given, accept = settings(steps)
    async with stage(**given) as one:  # type: ignore[arg-type]
        one.ears.after = _after(accept)
        await converse(path.name, steps, await one.connect(), partial(_check, one))


async def converse(name: str, steps: list[Line], peer: Peer, check: Callable[[str], Awaitable[None]]) -> None:
    """Says and hears what the steps say, and closes; what must have arrived is for `check` to see. An AssertionError
    names file and line."""
    heard: list[str] = []
    before = ""
    try:
        for number, kind, text in steps:
            try:
                if kind in {"S+", "S-"} and before not in {"S+", "S-"}:
                    heard = await peer.reply()
                await (check(text) if kind == "= " else _step(peer, kind, text, heard))
                before = kind
            except (AssertionError, TimeoutError, OSError) as error:
                raise AssertionError(f"{name}:{number}: {kind} {text}\n{error!r}") from error
    finally:
        await peer.close()


def _after(accept: str):
    if not accept:
        return None

    async def after(submission: Submission) -> Reply | None:
        if accept == "raise":
            raise RuntimeError("database or disk is full: /var/lib/relay/queue.db")
        code, enhanced, text = accept.split(" ", 2)
        return reply(int(code), enhanced, text)

    return after


async def _step(peer: Peer, kind: str, text: str, heard: list[str]) -> None:
    match kind:
        case "S:":
            line = await peer.line()
            assert fits(text, line), f"the relay said {line!r}"
        case "S+":
            assert any(fits(text, line) for line in heard), f"the relay said {heard}"
        case "S-":
            assert not any(fits(text, line) for line in heard), f"the relay said {heard}"
        case "C:":
            peer.send(text.encode() + b"\r\n")
        case "C\\":
            peer.send(unescape(text))
        case "C*":
            times, _, line = text.partition(" ")
            peer.send((unescape(line) + b"\r\n") * int(times))
        case "X:":
            await _act(peer, text)


async def _act(peer: Peer, what: str) -> None:
    match what:
        case "starttls":
            await peer.starttls(client_context())
        case "oldtls":
            await peer.starttls(client_context(old=True))
            assert peer.version() == "TLSv1"
        case "half-close":
            peer.writer.write_eof()
        case "close":
            await peer.close()
        case "reset":
            peer.reset()
        case "end":
            assert await peer.end() == b""
        case _:
            raise AssertionError("unknown act")


async def _check(one: Stage, text: str) -> None:
    key, _, value = text.partition(":")
    value = value.strip()
    if key == "messages":
        await until(lambda: len(one.mail) >= int(value) and not one.reception.commits)
        assert len(one.mail) == int(value), f"{len(one.mail)} arrived"
    elif key == "refused":
        await until(lambda: len(one.events) >= len(value.split()))
        assert one.reasons == value.split(), one.reasons
    else:
        found = found_in(one.mail[-1], key)
        if key in {"contains", "lacks"}:
            assert (unescape(value) in found) == (key == "contains"), found
        else:
            assert found == value, f"it is {found!r}"


def found_in(mail: Submission, key: str):
    """What a message has under the name a file uses for it."""
    envelope, client = mail.envelope, mail.client
    name, _, address = key.partition(" ")
    if name in {"notify", "orcpt"}:
        one = next(one for one in envelope.recipients if one.address == address)
        return ",".join(sorted(one.notify)) if name == "notify" else one.orcpt
    if name in {"contains", "lacks"}:
        return b"".join(mail.content.chunks())
    if name == "recipients":
        return " ".join(one.address for one in envelope.recipients)
    if name == "utf8":
        return "yes" if envelope.utf8 else "no"
    if name in {"helo", "protocol", "credential", "profile", "tls"}:
        return getattr(client, name)
    assert name in {"sender", "body", "ret", "envid"}, f"unknown assertion {name}"
    return getattr(envelope, name)


def fits(pattern: str, line: str) -> bool:
    if pattern.startswith("~"):
        return re.fullmatch(pattern[1:], line) is not None
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), line) is not None


def unescape(text: str) -> bytes:
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
