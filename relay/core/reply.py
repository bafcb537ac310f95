"""An SMTP reply is a value: what a server said, or what we are about to say (RFC 5321 §4.2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: `code` 200 to 599, `enhanced` as "4.7.1" or "" when none was given (RFC 3463),
    `lines` of text without code, enhanced code or line end; at least one line, which may be empty."""

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def severity(self) -> int:
        """The first digit, which alone decides what a client does (RFC 5321 §4.2.1)."""
        return self.code // 100

    @property
    def text(self) -> str:
        """All lines joined by a space, for people and for matching."""
        return " ".join(self.lines)

    def __str__(self) -> str:
        enhanced = f" {self.enhanced}" if self.enhanced else ""
        return f"{self.code}{enhanced} {self.text}"


def reply(code: int, enhanced: str, *lines: str) -> Reply:
    """A Reply written by hand: `reply(452, "4.3.1", "insufficient storage")`."""
    return Reply(code, enhanced, lines or ("",))
