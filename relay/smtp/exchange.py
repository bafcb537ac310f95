"""Carrying mail through a session that is open: groups of commands out, replies to verdicts.

Replies come in the order of the commands, so `expected` says what each one answers, across the border
between a message's dot and the commands of the next one.
"""

from __future__ import annotations

from relay.core.outcome import Phase, judge_reply
from relay.core.reply import Reply
from relay.smtp.happenings import Ready, SendBody
from relay.smtp.session import Session
from relay.smtp.states import Event, State
from relay.smtp.transaction import Delivery, Entry, Transaction

GROUP = 100  # RCPTs written before their replies are read: bounds both ends' buffers (RFC 2920 §3.1)


def start(session: Session, delivery: Delivery) -> bool:
    """Writes a delivery's first group; False if its Result is known already."""
    transaction = Transaction(delivery, session.capabilities)
    if not transaction.todo:
        session.tell_result(transaction)
        return False
    if session.reset_due:
        session.reset_due = False
        transaction.todo.insert(0, (Phase.RSET, 0))
    session.current = transaction
    _write_group(session, transaction)
    return True


def _write_group(session: Session, transaction: Transaction) -> None:
    """As many commands as may go unanswered: one, or with PIPELINING up to GROUP recipients and, as the
    last of its group, DATA (RFC 2920 §3.1)."""
    todo = transaction.todo
    end = _end_of_group(todo) if session.capabilities.pipelining else 1
    group, transaction.todo = todo[:end], todo[end:]
    session.out += transaction.commands(group)
    session.expected.extend(group)


def _end_of_group(todo: list[Entry]) -> int:
    """How many of these may go in one group."""
    if len(todo) <= GROUP:
        return len(todo)
    recipients = [at for at, (phase, _) in enumerate(todo) if phase is Phase.RCPT]
    return recipients[GROUP] if len(recipients) > GROUP else len(todo)


def answered(session: Session, reply: Reply) -> None:
    """A reply to the oldest command that has none."""
    phase, index = session.expected.popleft()
    if phase is Phase.DOT:
        _dot_answered(session, reply)
        return
    transaction = session.current
    assert transaction is not None
    if phase is Phase.DATA:
        _data_answered(session, transaction, reply)
    elif (digit := reply.severity) == 3 or (phase is Phase.RSET and digit != 2):
        session.broken(judge_reply(phase, reply))
    else:
        if phase is Phase.RCPT:
            transaction.rcpt_answered(index, reply)
        elif phase is Phase.MAIL:
            transaction.mail_answered(reply)
        if not session.expected:
            _go_on(session, transaction)


def _go_on(session: Session, transaction: Transaction) -> None:
    """Everything written is answered: the next group, unless nobody can be reached any more."""
    following = transaction.todo[0][0]
    if transaction.mail_refused or (following is Phase.DATA and not transaction.accepted):
        _over(session, transaction)
    else:
        _write_group(session, transaction)


def _data_answered(session: Session, transaction: Transaction, reply: Reply) -> None:
    if (digit := reply.severity) == 2:
        session.broken(judge_reply(Phase.DATA, reply))
    elif digit != 3:
        transaction.finish(judge_reply(Phase.DATA, reply))
        _over(session, transaction)
    elif transaction.accepted:
        session.move(Event.GO_AHEAD)
        session.happenings.append(SendBody(transaction.delivery.token))
    else:  # RFC 2920 §3.1: DATA was taken although no recipient was; a single dot ends it
        session.move(Event.NOBODY_LEFT)
        session.current = None
        session.expected.append((Phase.DOT, 0))
        session.out += b".\r\n"
        session.tell_result(transaction)


def _over(session: Session, transaction: Transaction) -> None:
    """A transaction that ended before its body."""
    session.current = None
    session.reset_due = not transaction.mail_refused  # else the server has none open
    session.move(Event.OVER)
    session.tell_result(transaction)
    session.happenings.append(Ready())


def _dot_answered(session: Session, reply: Reply) -> None:
    outcome = judge_reply(Phase.DOT, reply)
    if session.sent is not None:
        session.sent.finish(outcome)
        session.tell_result(session.sent)
        session.sent = None
        session.progress = True
    if outcome.trouble is not None:
        session.broken(outcome)
    elif session.current is not None:
        session.move(Event.NEXT)
    else:
        session.move(Event.OVER)
        _begin_waiting(session)


def _begin_waiting(session: Session) -> None:
    following, session.next = session.next, None
    if following is not None and start(session, following):
        session.move(Event.BEGIN_)
    else:
        session.happenings.append(Ready())


def interrupted(session: Session, reply: Reply) -> None:
    """A reply before the dot: a refusal counts for this message, and the session is out of step."""
    assert session.current is not None
    assert session.state is State.BODY
    if reply.severity >= 4:
        session.current.finish(judge_reply(Phase.BODY, reply))
