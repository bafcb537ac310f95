"""Text made fit for a header: encoded words (RFC 2047), extended parameters (RFC 2231), folding."""

from __future__ import annotations

import re
from binascii import b2a_base64
from urllib.parse import quote

FOLD_CHARS = 78  # RFC 5322 §2.1.1: a line should not be longer
MAX_LINE_BYTES = 998  # and must not be longer than this
WORD_CHARS = 63  # of text in a word: RFC 2047 §2 allows 75 with "=?utf-8?q?" and "?="
WORD_OCTETS = 45  # 60 characters of base64
# RFC 2047 §5 (3): what may stand for itself in a word anywhere, in a phrase as in a subject.
PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
LONE_SPACE = re.compile(rb"\r\n[ \t]+(?=\r\n)")
WORD_AND_SPACE = re.compile(rb"[ \t]*[^ \t]+")
NAME = re.compile(r"[!-9;-~]+")


def text_of(octets: bytes, charset: str = "") -> str:
    """The text raw octets were meant to be: UTF-8 when they are valid UTF-8, which other charsets are not
    by accident; else `charset`, what the message says of itself; else Windows-1252."""
    for name in ("utf-8", charset):
        try:
            if name and "".encode(name) == b"":
                return octets.decode(name)
        except (LookupError, ValueError):
            continue
    return octets.decode("cp1252", "replace")


def encoded_words(text: str) -> str:
    """The text as encoded words of at most 75 characters, joined by spaces that mean nothing."""
    return " ".join(_word(piece) for piece in _pieces(text))


def _pieces(text: str) -> list[str]:
    """The text in pieces of at most WORD_OCTETS octets and no cut character (RFC 2047 §5)."""
    pieces, piece, used = [], "", 0
    for char in text:
        width = len(char.encode("utf-8", "replace"))
        if used + width > WORD_OCTETS:
            pieces.append(piece)
            piece, used = "", 0
        piece += char
        used += width
    return [*pieces, piece]


def _word(piece: str) -> str:
    """One encoded word: Q, which people can read, where it fits and is not much longer than B."""
    octets = piece.encode("utf-8", "replace")
    in_q = "".join(chr(o) if o in PLAIN else "_" if o == 32 else f"={o:02X}" for o in octets)
    in_b = b2a_base64(octets, newline=False).decode()
    return f"=?utf-8?q?{in_q}?=" if len(in_q) <= min(WORD_CHARS, len(in_b) * 2) else f"=?utf-8?b?{in_b}?="


# Words that are not ASCII, and the space between them, which §6.2 would drop between encoded words.
_FOREIGN_WORD = r"[^ \t\x80-\U0010ffff]*+[^\x00-\x7f][^ \t]*+"
FOREIGN_RUN = re.compile(rf"(?<![^ \t]){_FOREIGN_WORD}(?>(?:[ \t]++{_FOREIGN_WORD})*)")


def encode_text(text: str) -> str:
    """Unstructured text with the words that are not ASCII encoded and all others as they were."""

    def encoded(match: re.Match[str]) -> str:
        # beside a word that came encoded the space is dropped by readers too: ours carries one
        before = " " if text[: match.start()].rstrip(" \t").endswith("?=") else ""
        after = " " if text[match.end() :].lstrip(" \t").startswith("=?") else ""
        return encoded_words(before + match[0] + after)

    return text if text.isascii() else FOREIGN_RUN.sub(encoded, text)


# What an address list is made of; each alternative ends where the next begins, so this is linear. An atom takes
# escaped marks with it: after a quote that never ends each of them would be tried as a beginning.
ADDRESS_TOKEN = re.compile(
    r"""(?P<quoted>"(?>(?:[^"\\]|\\.)*)")|(?P<comment>\((?>(?:[^()\\]|\\.)*)\))|(?P<angle><[^<>]*+>)"""
    r"""|(?P<space>[ \t]+)|(?P<mark>[,:;])|(?P<atom>(?>(?:[^ \t"(<,:;\\]|\\.)+)|.)""",
    re.DOTALL,
)


def encode_addresses(value: str) -> str | None:
    """An address list with display names and comments encoded; None when an address itself is not ASCII,
    which only SMTPUTF8 can carry (RFC 6532)."""
    parts: list[str] = []
    name: list[str] = []  # neighbouring words that are not ASCII become one run: §6.2 drops space between
    gap = ""
    for match in ADDRESS_TOKEN.finditer(value):
        kind, token = match.lastgroup, match[0]
        if kind == "space" and name:
            gap += token
            continue
        if not token.isascii() and kind in ("quoted", "atom"):
            if (kind == "atom" and "@" in token) or value.startswith("@", match.end()):
                return None
            name += [gap, _unquoted(token) if kind == "quoted" else token]
            gap = ""
            continue
        if name:
            parts += [encoded_words("".join(name)), gap]
            name, gap = [], ""
        if not token.isascii():
            if kind != "comment":
                return None
            token = f"({encoded_words(_unquoted(token))})"
        parts.append(token)
    if name:
        parts += [encoded_words("".join(name)), gap]
    return "".join(parts)


def _unquoted(token: str) -> str:
    """The text inside a quoted string or comment (RFC 5322 §3.2.4)."""
    return re.sub(r"\\(.)", r"\1", token[1:-1])


PARAMETER = re.compile(
    r""";([ \t]*+)([A-Za-z0-9!#$&+.^_`{|}~-]+)[ \t]*+=[ \t]*+(?:"((?>(?:[^"\\]|\\.)*))"|([^; \t"]+))"""
)


def encode_parameters(value: str) -> str | None:
    """A MIME field with parameters that are not ASCII in the form of RFC 2231 §4 (`filename*=utf-8''…`);
    None when something else in it is not ASCII."""

    def extended(match: re.Match[str]) -> str:
        if match[0].isascii():
            return match[0]
        text = re.sub(r"\\(.)", r"\1", match[3]) if match[3] is not None else match[4]
        return f";{match[1] or ' '}{match[2]}*=utf-8''{quote(text, safe='')}"

    encoded = PARAMETER.sub(extended, value)
    return encoded if encoded.isascii() else None


def fold(raw: bytes, width: int = FOLD_CHARS) -> bytes:
    """A field with its lines folded at white space to `width` where that is possible (RFC 5322 §2.2.3);
    nothing is added but CRLFs, so the unfolded value stays the same."""
    lines = raw.removesuffix(b"\r\n").split(b"\r\n")
    folded = [part for i, line in enumerate(lines) for part in _folded_line(line, width, first=i == 0)]
    return b"\r\n".join(folded) + b"\r\n"


def _folded_line(line: bytes, width: int, *, first: bool) -> list[bytes]:
    """One line as several, each but the first beginning with the white space it was cut at."""
    if len(line) <= width:
        return [line]
    text = line.rstrip(b" \t")  # space that no word follows would be looked at once for each space in it
    if not text:
        return [line]
    words = WORD_AND_SPACE.findall(text)
    words[-1] += line[len(text) :]
    if first and len(words) > 1 and len(words[0]) + len(words[1]) <= MAX_LINE_BYTES:
        words[:2] = [words[0] + words[1]]  # no line with a name and nothing else
    parts = [words[0]]
    for word in words[1:]:
        if len(parts[-1]) + len(word) > width:
            parts.append(word)
        else:
            parts[-1] += word
    return parts


def new_field(name: str, value: str) -> bytes:
    """A complete field: control characters become spaces, so that no value brings a field of its own;
    text that is not ASCII is encoded, the whole folded. Raises ValueError for a bad name."""
    if not NAME.fullmatch(name):
        raise ValueError(f"not a header name: {name!r}; printable ASCII without space and colon is")
    text = encode_text(CONTROLS.sub(" ", value).strip())
    return fold(f"{name}: {text}\r\n".encode())
