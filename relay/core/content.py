"""The bytes of a message: a header block and a body that may be too large to hold in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

CHUNK_BYTES = 65536  # what one read of a spooled body brings; large enough that the loop is not felt


class Body(Protocol):
    """The part after the empty line, in network form: every line ends CRLF, no dot-stuffing."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """The bytes in order, in pieces of any size; may be called again."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryBody:
    """A body held in memory: the common case, up to 256 KiB."""

    data: bytes
    size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", len(self.data))

    def chunks(self) -> Iterator[bytes]:
        yield self.data


@dataclass(frozen=True, slots=True)
class Content:
    """`header`: complete CRLF-ended lines, without the empty line that ends them; may be b"".
    On the wire a message is header + CRLF + body. `eight_bit`: some byte is above 127;
    `long_lines`: some line has more than 998 bytes before its CRLF (RFC 5322 §2.1.1)."""

    header: bytes
    body: Body
    eight_bit: bool = False
    long_lines: bool = False

    @property
    def size(self) -> int:
        """Bytes on the wire, without dot-stuffing and the final dot (RFC 1870 §2)."""
        return len(self.header) + 2 + self.body.size

    def chunks(self) -> Iterator[bytes]:
        """The whole message in order, in pieces."""
        yield self.header + b"\r\n"
        yield from self.body.chunks()
