"""An idempotency key as the store keeps it: whose it is, and what it stands for."""

from __future__ import annotations

from hashlib import sha256

from relay.core.content import MemoryBody
from relay.core.envelope import Client, Submission
from relay.core.message import Once
from relay.prepare.signing import SigningDesk


async def once(submission: Submission, key: str, window_s: float, desk: SigningDesk) -> Once:
    """The key of a submission. A long body is read in the desk's thread."""
    in_memory = isinstance(submission.content.body, MemoryBody)
    digest = digest_of(submission) if in_memory else await desk.apart(lambda: digest_of(submission))
    return Once(owner_of(submission.client), key, digest, submission.received_at + window_s)


def owner_of(client: Client) -> str:
    """Keys of a credential are its own; without one they belong to the address, at that listener."""
    if client.credential:
        return f"credential {client.credential}"
    return f"listener {client.listener} client {client.address}"


def digest_of(submission: Submission) -> str:
    """SHA-256 of envelope and body, in hexadecimal. The header is left out: Date and Message-ID are often made anew
    for each try."""
    envelope = submission.envelope
    people = (envelope.sender, *sorted(one.address for one in envelope.recipients))
    digest = sha256("\n".join(people).encode("utf-8", "surrogateescape"))
    digest.update(b"\n\n")
    for chunk in submission.content.body.chunks():
        digest.update(chunk)
    return digest.hexdigest()
