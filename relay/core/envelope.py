"""Who sends to whom, as the client said it, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.core.content import Content


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT: `address` as sent, `notify` a subset of NEVER SUCCESS FAILURE DELAY (empty: not given),
    `orcpt` exactly as sent, xtext and all (RFC 3461 §4.1, §4.2), "" when not given."""

    address: str
    notify: frozenset[str] = frozenset()
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """MAIL and its RCPTs. `sender` is "" for the null reverse-path. `body` is "", "7BIT" or "8BITMIME"
    (RFC 6152), `ret` "", "FULL" or "HDRS", `envid` exactly as sent (RFC 3461 §4.4), "" when not given."""

    sender: str
    recipients: tuple[Recipient, ...]
    body: str = ""
    utf8: bool = False
    ret: str = ""
    envid: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """The peer that submits: `address` is its IP in text, `helo` its own claim, `listener` the name of
    the listener it came to, `credential` the account it proved or "", `tls` the protocol version or ""
    for clear text, `protocol` the word for Received: SMTP, ESMTP, ESMTPS, ESMTPSA ... (RFC 3848),
    `profile` "modern" or "legacy" as the listener is set: a legacy client's header may be repaired."""

    address: str
    port: int
    helo: str
    listener: str
    credential: str = ""
    tls: str = ""
    protocol: str = "ESMTP"
    profile: str = "modern"


@dataclass(frozen=True, slots=True)
class Submission:
    """Everything the listener knows of one message at the final dot. `received_at` is Unix time in
    seconds (UTC); `id` is ours, sorts by time and stays through all retries."""

    id: str
    received_at: float
    client: Client
    envelope: Envelope
    content: Content = field(repr=False)
