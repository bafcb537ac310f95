"""What is settled about streams before a message is read: by the listener it comes to, and by its credential."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """What a listener or a credential settles beforehand: the stream its mail belongs to ("" if none),
    those its clients may choose by X-Relay-Stream, and how many seconds ahead X-Relay-Send-At may be."""

    stream: str = ""
    choices: tuple[str, ...] = ()
    ahead_s: float = 0.0


NO_STANDING = Standing()


def together(listener: Standing, credential: Standing) -> Standing:
    """What holds for mail that comes to a listener with a credential: the credential, being the narrower,
    goes before the listener in forcing a stream; either may open a choice, or lengthen the time ahead."""
    if credential is NO_STANDING:
        return listener
    more = tuple(name for name in credential.choices if name not in listener.choices)
    ahead_s = max(listener.ahead_s, credential.ahead_s)
    return Standing(credential.stream or listener.stream, listener.choices + more, ahead_s)
