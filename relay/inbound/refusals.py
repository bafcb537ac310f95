"""Every way to say no to a client: one table. The key is the `reason` of events and metrics.

A line holds the reply (code, enhanced code, text), whether it counts towards the limit of errors a session
may make, and what it means for the person who reads the log. Codes that end in 421 close the connection.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from relay.core.reply import Reply


class Counts(Enum):
    """Whether a refusal counts as an error of the client."""

    NEVER = "never"
    STRANGERS = "strangers"  # only from clients that may not relay: others may have a bad address in a list
    ALWAYS = "always"


class Refusal(NamedTuple):
    """One line of the table; `text` may name facts in braces."""

    code: int
    enhanced: str
    text: str
    counts: Counts
    means: str


N, S, A = Counts.NEVER, Counts.STRANGERS, Counts.ALWAYS

REFUSALS: dict[str, Refusal] = {
    # connections
    "too-many-connections": Refusal(421, "4.3.2", "too many connections, try again later", N,
        "max_connections of the listener is reached, or the process has no file descriptors to spare"),
    "too-many-from-client": Refusal(421, "4.7.0", "too many connections from {client}", N,
        "max_connections_per_client of the listener is reached"),
    "draining": Refusal(421, "4.3.2", "{hostname} is shutting down, try again in a moment", N,
        "the relay stops or restarts; clients come back"),
    "idle": Refusal(421, "4.4.2", "{hostname} closes: nothing came for {seconds} s", N,
        "the client kept the connection without a command for idle_timeout_s"),
    "slow-data": Refusal(421, "4.4.2", "{hostname} closes: the message came too slowly", N,
        "a block of DATA took longer than data_timeout_s, or the rate fell below data_min_bytes_per_s"),
    "too-many-errors": Refusal(421, "4.7.0", "too many errors", N,
        "max_errors of the listener is reached; the replies before this one say which errors"),
    "too-many-commands": Refusal(421, "4.7.0", "too many commands without mail", N,
        "max_idle_commands of the listener is reached"),
    "session-too-old": Refusal(421, "4.3.2", "{hostname} closes an old connection, please reconnect", N,
        "session_timeout_s of the listener is over; a kept connection begins anew"),
    "tls-on-plain-port": Refusal(421, "4.7.0", "TLS was spoken before STARTTLS", N,
        "the client begins with TLS: point it to a listener with tls: implicit"),
    "tls-failed": Refusal(421, "4.7.0", "the TLS handshake failed", N,
        "see the log line beside it: an old protocol, or a certificate the client does not trust"),
    # syntax and order
    "unknown-command": Refusal(500, "5.5.1", "unknown command", A, "the client said what is no SMTP"),
    "not-a-browser": Refusal(421, "4.7.0", "this is no web server", N, "a browser, or a page using one"),
    "not-implemented": Refusal(502, "5.5.1", "command not implemented", A, "SMTP the relay does not speak"),
    "empty-line": Refusal(500, "5.5.2", "an empty line", A, "often a body after refused DATA"),
    "bare-line-feed": Refusal(500, "5.5.2", "lines must end with CRLF; listen with profile: legacy for a"
        " client that cannot", A, "the client ends its commands with LF alone"),
    "control-character": Refusal(500, "5.5.2", "control characters in a command", A, "NUL, CR or another"),
    "line-too-long": Refusal(500, "5.5.2", "a command longer than {limit} octets", A, "RFC 5321 §4.5.3.1.4"),
    "endless-line": Refusal(421, "4.7.0", "a command line without end", N, "a megabyte and no line end"),
    "syntax": Refusal(501, "5.5.4", "syntax: {syntax}", A, "a command the relay knows, written wrong"),
    "bad-parameter": Refusal(501, "5.5.4", "{text}", A, "a parameter of MAIL or RCPT has a wrong value"),
    "unknown-parameter": Refusal(555, "5.5.4", "parameter {parameter} is unknown", A, "RFC 5321 §4.1.1.11"),
    "hello-first": Refusal(503, "5.5.1", "send EHLO first", A, "a command came before HELO or EHLO"),
    "nested-mail": Refusal(503, "5.5.1", "a message is under way; RSET to drop it", A, "MAIL after MAIL"),
    "mail-first": Refusal(503, "5.5.1", "send MAIL first", A, "RCPT or DATA without MAIL"),
    "rcpt-first": Refusal(503, "5.5.1", "no valid recipients", N, "DATA after every RCPT was refused"),
    "in-transaction": Refusal(503, "5.5.1", "not within a message", A, "AUTH or STARTTLS after MAIL"),
    # addresses
    "bad-sender": Refusal(553, "5.1.7", "{text}", S, "the address of MAIL is not well formed"),
    "bad-recipient": Refusal(553, "5.1.3", "{text}", S, "the address of RCPT is not well formed"),
    "needs-smtputf8": Refusal(553, "5.6.7", "{text}", S, "an address beyond ASCII without SMTPUTF8"),
    "address-literal": Refusal(550, "5.1.2", "mail to an address literal is not relayed; use a domain", S,
        "user@[192.0.2.1] has no MX and passes every policy by domain"),
    "route-in-address": Refusal(550, "5.7.1", "% and ! and @ in the local part are not relayed without a"
        " credential", S, "the percent hack and UUCP paths; authenticated clients may use such addresses"),
    "no-such-mailbox": Refusal(550, "5.1.1", "no mailbox {address} here: only reports on mail of ours are taken", S,
        "a listener with accepts: bounces, and no signed return path of ours nor an address in feedback:"),
    "too-many-recipients": Refusal(452, "4.5.3", "too many recipients, send the rest in another message", N,
        "max_recipients of the listener is reached; a client should split (RFC 5321 §4.5.3.1.10)"),
    # rights
    "tls-needed": Refusal(530, "5.7.0", "send STARTTLS first", A, "AUTH is asked for, and needs TLS"),
    "auth-needed": Refusal(530, "5.7.0", "authentication required", A, "no credential, and not in networks:"),
    "relaying-denied": Refusal(550, "5.7.1", "relaying denied: {client} may not send through listener"
        " {listener}", A, "the client is not in networks: and the listener offers no AUTH"),
    "sender-denied": Refusal(553, "5.7.1", "{address} may not be used as sender here; allowed: {allowed}", A,
        "senders: of the listener or the credential does not list the address of MAIL"),
    "from-denied": Refusal(550, "5.7.1", "{address} may not be used in From here; allowed: {allowed}", A,
        "senders: of the listener or the credential does not list the address in the From field"),
    # AUTH
    "auth-failed": Refusal(535, "5.7.8", "user name or password is wrong", N, "wrong account or password, or "
        "the credential does not list the client's network"),
    "auth-failures": Refusal(421, "4.7.0", "too many failed logins", N, "three on one connection"),
    "auth-throttled": Refusal(454, "4.7.0", "too many failed logins, try again later", N,
        "address or account failed often in the last minutes; the pause grows with each failure"),
    "auth-needs-tls": Refusal(538, "5.7.11", "passwords are taken only over TLS; send STARTTLS first", A,
        "or set profile: legacy for a client that cannot"),
    "credential-changed": Refusal(421, "4.7.0", "the credential has changed, log in again", N,
        "a reload took the credential away or changed its password while the session lived"),
    "auth-unavailable": Refusal(503, "5.5.1", "AUTH is not offered here", A, "auth: none on this listener"),
    "auth-mechanism": Refusal(504, "5.5.4", "mechanisms here: PLAIN LOGIN", A, "CRAM-MD5, NTLM and others"),
    "auth-again": Refusal(503, "5.5.1", "already authenticated", A, "a second AUTH, RFC 4954 §4"),
    "auth-cancelled": Refusal(501, "5.7.0", "authentication cancelled", N, "the client sent *"),
    "auth-encoding": Refusal(501, "5.5.2", "this is not base64 of name and password", A, "RFC 4954 §4"),
    "auth-too-long": Refusal(500, "5.5.6", "authentication exchange line is too long", A, "RFC 4954 §6"),
    # STARTTLS
    "tls-active": Refusal(503, "5.5.1", "TLS is active already", A, "STARTTLS inside TLS"),
    "tls-unavailable": Refusal(502, "5.5.1", "TLS is not offered here", A, "tls: none on this listener"),
    # the message
    "too-big": Refusal(552, "5.3.4", "message larger than {limit} bytes", N, "max_message_bytes"),
    "header-too-big": Refusal(552, "5.3.4", "header larger than {limit} bytes", N, "max_header_bytes"),
    "bare-line-end": Refusal(550, "5.6.0", "the message has bare CR, bare LF or NUL; send CRLF, or listen"
        " with profile: legacy", N, "RFC 5321 §2.3.8; profile legacy repairs it"),
    "loop": Refusal(554, "5.4.6", "mail loop: {hops} Received fields", N, "RFC 5321 §6.3"),
    "out-of-memory": Refusal(452, "4.3.1", "no memory for this message now, try again later", N,
        "memory_budget_bytes over all sessions"),
    "no-space": Refusal(452, "4.3.1", "no space for this message now, try again later", N,
        "the spool file could not be written"),
    # after the message: policy, preparation, queue ({text} says what exactly)
    "request-header": Refusal(550, "5.7.1", "{text}", N, "an X-Relay-* header asks for what listener"
        " and credential do not allow, or cannot be read (then 5.6.0)"),
    "idempotency-key": Refusal(550, "5.6.0", "{text}", N,
        "X-Relay-Idempotency-Key stands for one envelope and body within idempotency_window: the"
        " client gave it to another message"),
    "policy": Refusal(550, "5.7.1", "{text}", N, "a route with refuse: took the message"),
    "no-from": Refusal(550, "5.6.0", "{text}", N,
        "there is no From header with an address (RFC 5322 §3.6.2); profile: legacy puts one in"),
    "duplicate-header": Refusal(550, "5.6.0", "{text}", N,
        "a header that may be there once is there twice (RFC 5322 §3.6); large receivers refuse that"),
    "malformed-header": Refusal(550, "5.6.0", "{text}", N, "NUL in a header; profile: legacy removes it"),
    "eight-bit-header": Refusal(550, "5.6.7", "{text}", N,
        "raw 8-bit in a header that cannot be encoded: an address, an id or a date"),
    "long-header": Refusal(550, "5.6.0", "{text}", N,
        "a header line is longer than 998 octets and has no white space to fold it at (RFC 5322 §2.1.1)"),
    "long-line": Refusal(550, "5.6.0", "{text}", N,
        "a body line is longer than 998 octets and cannot be encoded (RFC 5322 §2.1.1)"),
    "signing-key": Refusal(451, "4.7.5", "this mail cannot be signed now", N,
        "a signature is required: true and its key cannot be read: relay check"),
    "disk-full": Refusal(452, "4.3.1", "insufficient storage, try again later", N, "no room for the queue"),
    "queue": Refusal(451, "4.3.0", "the queue cannot take mail now, try again later", N,
        "the queue could not be written now; the relay's log says why"),
    # reports on mail of ours (relay/inbound/feedback.py)
    "no-report": Refusal(550, "5.6.0", "this address takes delivery and feedback reports alone (RFC 3464, RFC 5965)",
        N, "somebody answered to a return path, or a receiver reports in a form of its own"),
    "no-proof": Refusal(550, "5.7.1", "nothing in this report proves that it is about a message of ours", N,
        "neither a signed return path nor a Received field of a message this relay has sent"),
    # after the policy: the gate (relay/inbound/gate.py)
    "bulk-mail": Refusal(550, "5.7.1", "{text}", N,
        "the stream's guard: refuses what looks like bulk mail; the reply names the right stream"),
    "requirement": Refusal(550, "5.7.1", "{text}", N,
        "the stream's require: asks for what is missing; the reply says what"),
    "disk-reserve": Refusal(452, "4.3.1", "the disk is nearly full, try again later", N,
        "less is free than queue: {reserve}; everyone waits, deliveries go on"),
    "quota-messages": Refusal(452, "4.3.1", "stream {stream} has as many messages in the queue as it may, try"
        " again later", N, "quota: {messages} of the stream"),
    "quota-bytes": Refusal(452, "4.3.1", "stream {stream} has as much in the queue as it may, try again later", N,
        "quota: {bytes} of the stream"),
    "quota-disk": Refusal(452, "4.3.1", "stream {stream} takes as much of the disk as it may, try again later", N,
        "quota: {share_of_disk} of the stream"),
    "quota-rate": Refusal(451, "4.7.1", "stream {stream} takes {pace}, try again in {seconds} s", N,
        "quota: {rate} of the stream"),
    "quota-accepts": Refusal(451, "4.7.1", "the relay is busy and stream {stream} has more than its share of it,"
        " {share}; try again in a minute, or send over fewer connections", N,
        "quota: {share_of_accepts} of the stream; other streams come in"),
    "client-rate": Refusal(451, "4.7.1", "{client} may send to {pace} recipients, try again in {seconds} s", N,
        "rate: of the credential or listener"),
    "client-daily": Refusal(452, "4.7.1", "{client} may send to {limit} recipients a day, and has or would have;"
        " again from {when}", N, "daily: of the credential or listener"),
    "overloaded": Refusal(451, "4.3.2", "the relay is busy, try again in a minute", N, "a reply to the dot would take"
        " more than 5 s: more mail comes than can be signed and stored; higher streams are still taken"),
    "internal": Refusal(451, "4.3.0", "try again later", N, "a fault of the relay; its log has the trace"),
}


class Refused(Exception):
    """Say this to the client and go on (or, for a 421, close)."""

    def __init__(self, reason: str, **facts: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.facts = facts

    @property
    def reply(self) -> Reply:
        """The line of the table with the facts filled in."""
        refusal = REFUSALS[self.reason]
        return Reply(refusal.code, refusal.enhanced, (printable(refusal.text.format_map(self.facts)),))


def printable(text: str) -> str:
    """Text for a reply: what a client said is echoed in printable ASCII, at most 400 characters of it."""
    if len(text) > 400:
        text = text[:397] + "..."
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
