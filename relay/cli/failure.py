"""What ends a command: one clear line for the person at the terminal."""

from __future__ import annotations


class Failed(Exception):
    """The command could not do it (exit code 1); the text says what, where and how to mend it."""


class Declined(Failed):
    """The relay understood and will not: what was sent is at fault, another may pass."""


class Misused(Exception):
    """The command was called wrongly (exit code 2); the text says what is allowed."""
