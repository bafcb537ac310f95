"""What fuzz targets share: the first bytes of the input decide how the rest is cut and which switches are on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.corpus import mails

KINDS = (mails.receipt, mails.code, mails.newsletter, mails.marked_up, mails.wrapped, mails.alert)
MAIL = [header + b"\r\n" + body for header, body, _ in (kind(1) for kind in KINDS)]


def switches(data: bytes) -> tuple[int, bytes]:
    """A number below 256 and what follows it."""
    return (data[0], data[1:]) if data else (0, b"")


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The data in pieces; a cut of 0 is taken for 1."""
    found, start = [], 0
    for cut in cuts:
        if start >= len(data):
            break
        found.append(data[start : start + max(cut, 1)])
        start += max(cut, 1)
    return [*found, data[start:]] if start < len(data) else found


def cut_up(data: bytes) -> tuple[bytes, list[bytes]]:
    """The payload, and the payload in pieces as its first four bytes say."""
    cuts, payload = data[:4], data[4:]
    return payload, pieces(payload, cuts)


def texts(data: bytes, number: int) -> list[str]:
    """The data as so many texts; bytes that are not UTF-8 come as surrogates, as they come to the relay."""
    parts = data.split(b"\xff", number - 1)
    return [part.decode("utf-8", "surrogateescape") for part in parts] + [""] * (number - len(parts))


def one_line(data: bytes) -> bool:
    """Whether every line end is CRLF."""
    return data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")


def with_cuts(seeds: Sequence[bytes]) -> list[bytes]:
    """Seeds for `cut_up`: whole, byte by byte, and in the middle of things."""
    return [bytes(cuts) + seed for seed in seeds for cuts in ((255, 255, 255, 255), (1, 1, 1, 1), (7, 31, 2, 90))]
