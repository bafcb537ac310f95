"""Delivery reports that came in (RFC 3464): a host that took our message found later that it cannot deliver it.

They count only when they come to the signed return path of the message (core/tokens.py): everything else in them is
a stranger's word. `core/dsn.py` writes such reports; here they are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay.core.classify import Kind, classify
from relay.core.reply import Reply
from relay.core.report import Report, field_blocks, path_in, text_of

KIND = "delivery-status"
BLOCKS_MOST = 101  # one of the message, and a hundred recipients (RFC 5321 §4.5.3.1.8)
STATUS = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
CODE = re.compile(r"\b([45]\d\d)\b")
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Bounce:
    """One recipient: `action` failed, delayed, relayed, delivered or expanded; `status` as "5.1.1" or "";
    `diagnostic` the words of the host that refused it; `mta` its name."""

    action: str
    recipient: str
    status: str = ""
    diagnostic: str = ""
    mta: str = ""

    @property
    def code(self) -> int:
        """The code of the reply that stands in the report, else the one its status stands for."""
        found = CODE.match(self.diagnostic)
        return int(found[1]) if found else 450 if self.status.startswith("4") else 550

    @property
    def kind(self) -> Kind:
        """The bounce class."""
        return classify(Reply(self.code, self.status, (self.diagnostic,)), of_recipient=True)


def read_bounces(report: Report) -> tuple[Bounce, ...]:
    """What a delivery report says of each recipient; empty for any other report."""
    data = report.first("message/delivery-status", "message/global-delivery-status")
    if report.kind != KIND or data is None:
        return ()
    found = []
    for block in field_blocks(data, BLOCKS_MOST):
        if action := text_of(block.first("action"), 20).lower():
            status = STATUS.search(text_of(block.first("status")))
            found.append(Bounce(
                action, path_in(block.first("original-recipient") or block.first("final-recipient")),
                status[1] if status else "", _typed(block.first("diagnostic-code")), _typed(block.first("remote-mta")),
            ))  # fmt: skip
    return tuple(found)


def _typed(value: str | None) -> str:
    """The words after `smtp;` or `dns;` (RFC 3464 §2.1.2)."""
    text = text_of(value)
    kind, semicolon, rest = text.partition(";")
    return rest.strip() if semicolon and kind.strip().replace("-", "").isalnum() else text
