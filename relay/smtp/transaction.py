"""One message on its way through a session: its commands, and what each recipient was told.

Steps: `Transaction` refuses what can be known without asking (size, 8-bit, SMTPUTF8, characters no
command may hold); its commands are written in groups; each reply is noted; `finish` gives every
recipient that has no verdict yet the one of the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from relay.core.classify import Kind
from relay.core.envelope import Recipient
from relay.core.outcome import Outcome, Phase, Scope, Trouble, Verdict, judge, judge_reply
from relay.core.reply import Reply
from relay.smtp.capabilities import Capabilities

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")
_NO_VALUE = re.compile(r"[\x00-\x20\x7f-\U0010ffff]")  # RFC 3461 §4: xtext, and nothing more is promised
_NO_TOKEN = re.compile(r"[\x00-\x20\x7f]")  # an ORCPT of type utf-8 may be written in UTF-8 (RFC 6533 §3)
_NOTIFY = ("SUCCESS", "FAILURE", "DELAY")
_BARE = {Phase.DATA: "DATA\r\n", Phase.RSET: "RSET\r\n"}

Entry = tuple[Phase, int]
"""A command to write, or one whose reply is owed: for Phase.RCPT with the index of its recipient."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one destination. `token` comes back in its Result; `sender` is the reverse-path,
    "" for null; `size` the bytes on the wire without dot-stuffing; `eight_bit`: some byte is above 127;
    `utf8`: it needs SMTPUTF8; `ret` "", "FULL" or "HDRS"; `envid` as the client sent it (xtext)."""

    token: object
    sender: str
    recipients: tuple[Recipient, ...]
    size: int
    eight_bit: bool = False
    utf8: bool = False
    ret: str = ""
    envid: str = ""


class Transaction:
    """The envelope's side of one Delivery under a server's capabilities."""

    __slots__ = ("accepted", "capabilities", "delivery", "mail_refused", "needs_utf8", "outcomes", "todo")

    def __init__(self, delivery: Delivery, capabilities: Capabilities) -> None:
        self.delivery = delivery
        self.capabilities = capabilities
        self.mail_refused = False
        self.needs_utf8 = delivery.utf8 or not delivery.sender.isascii()
        self.accepted = False  # some recipient was taken
        self.outcomes: list[Outcome | None] = [None] * len(delivery.recipients)
        # commands not yet written, in order; none when every recipient has its verdict already
        self.todo: list[Entry] = []
        if named := self._nameable():
            self.todo = [(Phase.MAIL, 0), *[(Phase.RCPT, index) for index in named], (Phase.DATA, 0)]

    def _nameable(self) -> list[int]:
        delivery, can = self.delivery, self.capabilities
        trouble = None
        if can.size_limit and delivery.size > can.size_limit:
            trouble = Trouble.TOO_LARGE  # RFC 1870 §6
        elif delivery.eight_bit and not can.eight_bit:
            trouble = Trouble.NO_8BITMIME  # RFC 6152 §3: convert or bounce
        elif self.needs_utf8 and not can.utf8:
            trouble = Trouble.NO_SMTPUTF8
        elif _FORBIDDEN.search(delivery.sender) or (
            (values := delivery.ret + delivery.envid) and _NO_VALUE.search(values)
        ):
            trouble = Trouble.UNWRITABLE  # xtext is ASCII, whatever the server can do (RFC 3461 §4)
        if trouble is not None:
            self.finish(judge(trouble, Phase.MAIL))
            return []
        return [index for index, recipient in enumerate(delivery.recipients)
                if self._can_name(index, recipient)]

    def _can_name(self, index: int, recipient: Recipient) -> bool:
        if not recipient.address.isascii():
            self.needs_utf8 = True
            if not self.capabilities.utf8:
                self.outcomes[index] = judge(Trouble.NO_SMTPUTF8, Phase.RCPT)
                return False
        if _FORBIDDEN.search(recipient.address) or (recipient.orcpt and _NO_TOKEN.search(recipient.orcpt)):
            self.outcomes[index] = judge(Trouble.UNWRITABLE, Phase.RCPT)
            return False
        return True

    def commands(self, entries: Iterable[Entry]) -> bytes:
        """The commands of some entries of `todo`, one after the other, each with its CRLF."""
        lines = ""
        for phase, index in entries:
            if phase is Phase.RCPT:
                lines += self._rcpt(index)
            else:
                lines += self._mail() if phase is Phase.MAIL else _BARE[phase]
        return lines.encode()

    def _mail(self) -> str:
        """The MAIL command (RFC 5321 §4.1.1.2) with the parameters the server knows."""
        delivery, can = self.delivery, self.capabilities
        line = f"MAIL FROM:<{delivery.sender}>"
        if can.size:
            line += f" SIZE={delivery.size}"  # RFC 1870 §5
        if delivery.eight_bit:
            line += " BODY=8BITMIME"  # RFC 6152 §2
        if self.needs_utf8:
            line += " SMTPUTF8"  # RFC 6531 §3.4
        if can.dsn:
            if delivery.ret:
                line += f" RET={delivery.ret}"  # RFC 3461 §4.3
            if delivery.envid:
                line += f" ENVID={delivery.envid}"  # RFC 3461 §4.4, §5.2.1: as it came
        return line + "\r\n"

    def _rcpt(self, index: int) -> str:
        """The RCPT command (RFC 5321 §4.1.1.3) of one recipient."""
        recipient = self.delivery.recipients[index]
        line = f"RCPT TO:<{recipient.address}>"
        if self.capabilities.dsn:  # RFC 3461 §5.2.1: passed on as received, never made up
            if recipient.notify:
                line += f" NOTIFY={_notify(recipient.notify)}"
            if recipient.orcpt:
                line += f" ORCPT={recipient.orcpt if self.needs_utf8 else _ascii(recipient.orcpt)}"
        return line + "\r\n"

    def mail_answered(self, reply: Reply) -> None:
        """Notes what the server says of the sender; a refusal is everybody's."""
        if reply.severity != 2:
            self.mail_refused = True
            self.finish(judge_reply(Phase.MAIL, reply))

    def rcpt_answered(self, index: int, reply: Reply) -> None:
        """Notes what the server says of one recipient."""
        if self.mail_refused:
            return  # what follows is an echo of that
        if reply.severity == 2:
            self.accepted = True
            return
        outcome = judge_reply(Phase.RCPT, reply)
        if self.accepted and _too_many(reply):
            outcome = replace(outcome, verdict=Verdict.DEFERRED, scope=Scope.MESSAGE,
                              kind=Kind.TOO_MANY_RECIPIENTS, untouched=True)
        self.outcomes[index] = outcome

    def finish(self, outcome: Outcome) -> None:
        """Gives `outcome` to every recipient without a verdict."""
        self.outcomes = [outcome if one is None else one for one in self.outcomes]

    @property
    def settled(self) -> tuple[Outcome, ...]:
        """The outcomes, one per recipient, after `finish`."""
        return tuple([one for one in self.outcomes if one is not None])


def _notify(words: frozenset[str]) -> str:
    """RFC 3461 §4.1: NEVER stands alone."""
    return "NEVER" if "NEVER" in words else ",".join(word for word in _NOTIFY if word in words)


def _ascii(orcpt: str) -> str:
    """RFC 6533 §3: outside SMTPUTF8 a character of a utf-8 address is written as its code point."""
    if orcpt.isascii():
        return orcpt
    return "".join(char if char.isascii() else f"\\x{{{ord(char):X}}}" for char in orcpt)


def _too_many(reply: Reply) -> bool:
    """RFC 5321 §4.5.3.1.10: 452 after some were taken, or the 552 RFC 821 had for it. An enhanced code
    that names another reason (4.2.2 mailbox full) is believed."""
    return reply.code in {452, 552} and reply.enhanced[2:] in {"", "5.3"}
