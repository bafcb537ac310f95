"""Complaints that came in (RFC 5965): somebody called a message of ours spam, and their provider says so.

A complaint counts for what can be proved of it: the signed return path of our message, which only somebody who has
the message knows, or the id in the Received field that this relay put on it. What else it says is a stranger's word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay.core.headers import Headers
from relay.core.ids import ALPHABET
from relay.core.report import Report, field_blocks, fields, path_in, text_of

KIND = "feedback-report"
# RFC 5965 §7.3, and what other feedback loops call an unsubscription; not-spam and auth-failure are no complaints
COMPLAINTS = frozenset({"abuse", "fraud", "virus", "other", "opt-out"})
ORIGINALS = ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers")
TRACES_MOST = 3
RECIPIENTS_MOST = 100
TRACE = re.compile(rf"\bby\s{{1,8}}([A-Za-z0-9._-]{{1,255}})\s.{{0,60}}?\bid\s{{1,8}}([{ALPHABET}]{{19}})\b")


@dataclass(frozen=True, slots=True)
class Complaint:
    """`kind` is the feedback type; `paths` the reverse-paths the report gives for our message; `traces` the ids in
    Received fields of this host; `recipients` those it names; `agent` who wrote it."""

    kind: str
    paths: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    agent: str = ""


def read_complaint(report: Report, hostname: str) -> Complaint | None:
    """What a feedback report says; None for any other report. `hostname` is ours."""
    data = report.first("message/feedback-report") if report.kind == KIND else None
    if data is None:
        return None
    said = next(iter(field_blocks(data, 1)))
    original = fields(report.first(*ORIGINALS) or b"")
    paths = [path_in(said.first("original-mail-from")), path_in(original.first("return-path"))]
    named = [path_in(value) for value in said.all("original-rcpt-to")[:RECIPIENTS_MOST]]
    return Complaint(
        text_of(said.first("feedback-type"), 40).lower(), tuple(path for path in paths if path),
        _traces(original, hostname), tuple(one for one in named if one), text_of(said.first("user-agent"), 100),
    )  # fmt: skip


def _traces(original: Headers, hostname: str) -> tuple[str, ...]:
    """Ids in the Received fields that name this host."""
    found = (TRACE.search(value[:1000]) for value in original.all("received")[:100])
    ours = [match[2] for match in found if match and match[1].lower() == hostname.lower()]
    return tuple(dict.fromkeys(ours))[:TRACES_MOST]
