"""What a check of the queue may find wrong, and the remedy of each."""

from __future__ import annotations

from typing import NamedTuple

SQL = "sqlite3 queue.db"
STOPPED = "stop the relay, keep a copy of the data folder"
AGAIN = "bring its body back from a backup, or relay queue cancel {message} and have it sent again"
REMEDIES = {
    "gap": f"{STOPPED} with its event log and report it; the mail itself is not touched by it",
    "no-message": f"its sender must send again: {STOPPED}, then {SQL} \"DELETE FROM recipient WHERE message = '{{message}}'\"",  # noqa: S608, E501 (words for people)
    "no-recipient": f"nobody waits for it: {STOPPED}, then {SQL} \"DELETE FROM message WHERE id = '{{message}}'\"",  # noqa: S608
    "no-message-ended": f"it does no harm: {STOPPED}, then {SQL} \"DELETE FROM ended WHERE message = '{{message}}'\"",  # noqa: S608
    "state": "relay queue cancel {message}, and have it sent again",
    "due": "relay queue retry {message}",
    "sum": f"look at relay events export --message {{message}}: {STOPPED} and report it",
    "stock": f"{STOPPED}, then {SQL} \"DELETE FROM state WHERE kind = 'stock'\": the start counts anew",  # noqa: S608
    "file": f"{STOPPED}; bring back a backup, or {SQL} .recover into a new file",
    "body-missing": f"it cannot be delivered: {AGAIN}",
    "body-size": f"relay queue hold {{message}}; {AGAIN}",
    "body-changed": f"relay queue hold {{message}}; {AGAIN}",
    "orphan": "no message needs the file: the next start removes it, or you",
}


class Problem(NamedTuple):
    """One exception: its `kind`, the `message` it concerns ("" for the whole queue), what is wrong, what to do."""

    kind: str
    message: str
    text: str
    remedy: str

    def __str__(self) -> str:
        """One line for people."""
        whose = f"message {self.message}: " if self.message else ""
        return f"{whose}{self.text}; {self.remedy}"


def problem(kind: str, message: str, text: str, **facts: object) -> Problem:
    """A problem with its facts and its remedy filled in."""
    return Problem(kind, message, text.format_map(facts), REMEDIES[kind].replace("{message}", message))
