"""What is settled about streams before a message is read: by the listener it comes to, and by its credential."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """What a listener or a credential settles beforehand: the stream its mail belongs to ("" if none),
    and those its clients may choose by X-Relay-Stream."""

    stream: str = ""
    choices: tuple[str, ...] = ()


NO_STANDING = Standing()


def together(listener: Standing, credential: Standing) -> Standing:
    """What holds for mail that comes to a listener with a credential: the credential, being the narrower,
    goes before the listener in forcing a stream; either may open a choice."""
    if credential is NO_STANDING:
        return listener
    more = tuple(name for name in credential.choices if name not in listener.choices)
    return Standing(credential.stream or listener.stream, listener.choices + more)
