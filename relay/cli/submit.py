"""Handing a message to the relay by SMTP, as any other program does: where it listens, and the dialogue."""

from __future__ import annotations

import contextlib
import os
import re
import smtplib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from relay.cli.failure import Failed

TIMEOUT_S: Final = 300.0  # RFC 5321 §4.5.3.2: five minutes for MAIL and RCPT; here the dot takes no longer
FALLBACK: Final = ("127.0.0.1", 2525)  # what the shipped configurations listen on
SENDMAIL_CONFIG: Final = Path("/etc/relay/relay.yaml")
LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - names, nothing is bound
QUEUED_ID: Final = re.compile(r"\b([0-9a-hjkmnp-tv-z]{19})\b")  # core/ids.py


class Unreachable(Exception):
    """No relay took the connection, or it broke off: the same message may be taken later."""


class Refused(Exception):
    """The relay said no: `phase` is the command, `code` its reply code, the text its words."""

    def __init__(self, phase: str, code: int, text: str) -> None:
        super().__init__(f"the relay refused {phase}: {code} {text}")
        self.phase = phase
        self.code = code


@dataclass(frozen=True, slots=True)
class Listens:
    """What matters of a listener to a program on this machine."""

    bind: str
    tls: str = "none"
    auth: str = ""
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The last reply to a final dot, and the relay's id of the message in it ("" when there is none)."""

    reply: str
    message: str


def address_of(bind: str) -> tuple[str, int]:
    """Where to connect for "HOST:PORT" or "[IPv6]:PORT"; an unspecified address becomes loopback."""
    host, colon, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and port.isascii() and port.isdigit()):
        raise Failed(f"{bind!r} is no address: write HOST:PORT, as in 127.0.0.1:2525")
    return LOOPBACK.get(host, host), int(port)


def plain_listener(listeners: Sequence[Listens]) -> tuple[str, int]:
    """The first listener a program here may use without credential and TLS; raises Failed when none is."""
    plain = [one for one in listeners if one.tls != "implicit" and one.auth != "required"]
    for one in plain:
        if _takes_itself(one):
            return address_of(one.bind)
    raise Failed(
        "no listener takes mail from this machine without a credential: add a listener with"
        " networks: [127.0.0.0/8], or set RELAY_SMTP=HOST:PORT"
    )


def sendmail_address() -> tuple[str, int]:
    """RELAY_SMTP, else the first plain listener of RELAY_CONFIG or /etc/relay/relay.yaml, else
    127.0.0.1:2525. Reads the file without checking it: `relay check` does that, mail goes every minute."""
    if given := os.environ.get("RELAY_SMTP", ""):
        return address_of(given)
    path = Path(os.environ.get("RELAY_CONFIG", "") or SENDMAIL_CONFIG)
    listeners = _peek(path)
    return plain_listener(listeners) if listeners else FALLBACK


def submit(address: tuple[str, int], sender: str, recipients: Sequence[str], message: bytes) -> Receipt:
    """Hands over one message in network form. Recipients past the relay's limit for one transaction go in
    further ones (RFC 5321 §4.5.3.1.10). Raises Unreachable or Refused; when only some recipients are
    refused, the others have been taken before Refused is raised."""
    try:
        client = smtplib.SMTP(*address, local_hostname=socket.gethostname(), timeout=TIMEOUT_S)
        try:
            client.ehlo_or_helo_if_needed()
            return _transactions(client, sender, list(recipients), message)
        finally:
            _leave(client)
    except smtplib.SMTPResponseException as error:
        phase = {smtplib.SMTPConnectError: "the connection", smtplib.SMTPHeloError: "EHLO"}.get(type(error), "DATA")
        raise Refused(phase, error.smtp_code, _text(error.smtp_error)) from None
    except OSError as error:
        host, port = address
        raise Unreachable(
            f"no relay answers at {host}:{port} ({error}): start it with `relay serve`, or say where it is with"
            " RELAY_SMTP=HOST:PORT"
        ) from None


def _leave(client: smtplib.SMTP) -> None:
    """Says QUIT. Whatever comes of it, the fate of the message is settled: a caller who took trouble here
    for a failure would send it twice."""
    with contextlib.suppress(OSError):
        client.quit()
    client.close()


def _transactions(client: smtplib.SMTP, sender: str, pending: list[str], message: bytes) -> Receipt:
    refused: list[Refused] = []
    receipt = Receipt("", "")
    while pending:
        _expect(client.mail(sender, _mail_options(client, [sender, *pending], message)), "MAIL")
        deferred: list[str] = []
        taken = 0
        for recipient in pending:
            code, answer = client.rcpt(recipient)
            if code // 100 == 2:
                taken += 1
            elif code == 452 and taken:  # the limit of one transaction: the rest go in the next
                deferred.append(recipient)
            else:
                refused.append(Refused("RCPT", code, f"<{recipient}> {_text(answer)}"))
        if not taken:
            break
        reply = _expect(client.data(message), "DATA")
        found = QUEUED_ID.search(reply)
        receipt = Receipt(reply, found[1] if found else "")
        pending = deferred
    if refused:
        worst = max(refused, key=lambda one: one.code)
        raise Refused("RCPT", worst.code, "; ".join(str(one).partition(": ")[2] for one in refused))
    return receipt


def _mail_options(client: smtplib.SMTP, addresses: Sequence[str], message: bytes) -> list[str]:
    options = []
    if not message.isascii() and client.has_extn("8bitmime"):
        options.append("BODY=8BITMIME")  # RFC 6152 §3
    if not all(address.isascii() for address in addresses):
        if not client.has_extn("smtputf8"):
            raise Refused("MAIL", 550, "it does not offer SMTPUTF8, which an address needs")
        options.append("SMTPUTF8")  # RFC 6531 §3.4
    return options


def _expect(answer: tuple[int, bytes], phase: str) -> str:
    code, text = answer
    if code // 100 != 2:
        raise Refused(phase, code, _text(text))
    return f"{code} {_text(text)}"


def _text(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return " ".join(text.split())


def _takes_itself(one: Listens) -> bool:
    """Whether a connection from this machine to the listener comes from one of its networks."""
    host, _ = address_of(one.bind)
    try:
        return any(ip_address(host) in ip_network(network, strict=False) for network in one.networks)
    except ValueError:
        return False


def _peek(path: Path) -> list[Listens]:
    """The listeners of a configuration file, as far as they can be read."""
    from relay.policy.strict import load

    try:
        node, _ = load(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError):
        return []
    tree = node.plain() if node else None
    listeners = tree.get("listeners") if isinstance(tree, dict) else None
    if not isinstance(listeners, dict):
        return []
    return [_listens(one) for one in listeners.values() if isinstance(one, dict) and "bind" in one]


def _listens(one: Mapping[str, object]) -> Listens:
    networks = one.get("networks")
    return Listens(
        bind=str(one["bind"]),
        tls=str(one.get("tls", "none")),
        auth=str(one.get("auth", "")),
        networks=tuple(str(network) for network in networks) if isinstance(networks, list) else (),
    )
