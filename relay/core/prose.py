"""The text of a message as far as it is needed to compare it with others: the first part that is text,
decoded, without markup and addresses of pages, cut to a few KiB.

It is read by eye, not by the book: an encoding that lies gives text that matches nothing, and no harm is done.
"""

from __future__ import annotations

import binascii
import re

TEXT_BYTES = 4096  # what is compared of a message
HTML_BYTES = 12_288  # of HTML, most of which is no text
SHOWN_BYTES = 8192  # of what comes after <body>
SIGNATURE = b"\n-- \r\n"  # RFC 3676 §4.3: what follows is no prose, and under every mail
HEAD_BYTES = 16_384  # where the first text part must begin
DEPTH = 4  # multipart in multipart: mixed, related, alternative, and one to spare

URL = re.compile(rb"http[s:][^\s<>\"')\]]+")
MARKUP = re.compile(rb"<[^<>]*>")
BASE64 = re.compile(rb"content-transfer-encoding[ \t]*:[ \t]*base64", re.IGNORECASE)
QUOTED = re.compile(rb"content-transfer-encoding[ \t]*:[ \t]*quoted-printable", re.IGNORECASE)
MULTIPART = re.compile(rb"content-type[ \t]*:[ \t]*multipart/", re.IGNORECASE)
HTML = re.compile(rb"content-type[ \t]*:[ \t]*text/html", re.IGNORECASE)


def prose(header: bytes, body: bytes) -> bytes:
    """The beginning of the message's text; `header` is its block, `body` its first 32 KiB or more."""
    part, text, boundary = header, body[: HEAD_BYTES + HTML_BYTES * 3], b""
    for _ in range(DEPTH):
        if not MULTIPART.search(part):
            break
        start = 0 if text.startswith(b"--") else text.find(b"\r\n--", 0, HEAD_BYTES) + 2
        middle = text.find(b"\r\n\r\n", start, HEAD_BYTES)
        if middle < 0:
            return b""
        part, text = text[start : middle + 2], text[middle + 4 :]
        boundary = b"\r\n" + part.partition(b"\r\n")[0]
    else:
        return b""
    is_html = HTML.search(part) is not None
    most = HTML_BYTES if is_html else TEXT_BYTES
    if boundary and (end := text.find(boundary, 0, 2 * most)) >= 0:
        text = text[:end]
    text = _decoded(part, text, most)
    if is_html:
        text = _shown(text)
    text = text[:TEXT_BYTES]
    if (end := text.find(SIGNATURE)) >= 0:
        text = text[:end]
    return URL.sub(b"", text) if b"://" in text else text


def _decoded(part: bytes, text: bytes, most: int) -> bytes:
    if BASE64.search(part):
        packed = text[: most * 3 // 2].translate(None, b"\r\n \t")
        try:
            return binascii.a2b_base64(packed[: len(packed) // 4 * 4])
        except binascii.Error:
            return b""
    if QUOTED.search(part):
        return binascii.a2b_qp(text[: most * 2])
    return text[:most]


def _shown(html: bytes) -> bytes:
    """HTML without its head and tags; each tag ends a line."""
    body = html.find(b"<body")
    body = html.find(b"<BODY") if body < 0 else body
    return MARKUP.sub(b"\n", html[max(body, 0) :][:SHOWN_BYTES]).replace(b"\r\n", b" ").replace(b"&nbsp;", b" ")
