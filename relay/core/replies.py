"""What a provider's words lead to: rules over replies, the first that matches decides.

A rule is pure: a reply, its kind and phase go in, and what is to be done comes out. Rules that need several
replies (`3 in 1h`) count them in `Windows`, which are bounded in number and size.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from relay.core.classify import blames_mail, classify
from relay.core.ledger import Act, Action
from relay.core.outcome import Outcome, Verdict
from relay.core.pattern import Pattern
from relay.core.reply import Reply

WINDOWS_MOST = 10_000  # rules x sources x sites that were heard of lately; the one unheard longest goes
REPLY_CHARS = 300  # of the reply kept with an action
PHASES = ("banner", "ehlo", "mail", "rcpt", "data", "dot")  # where a rule hears replies
OF_MESSAGE = frozenset({"mail", "rcpt", "data", "body", "dot"})  # where a stream and recipients are known
OF_SOURCE = frozenset({Act.PAUSE_SOURCE, Act.SLOW, Act.CONNECTIONS})  # what is done to an address of ours, not to mail
# RFC 5321 §4.2: code, hyphen or space, text; RFC 2034 §4: the enhanced code leads the text
_LINE = re.compile(r"([2-5]\d\d)(?:[ -](?:([245]\.\d{1,3}\.\d{1,3})(?:[ \t]+|$))?(.*))?")


@dataclass(frozen=True, slots=True)
class Threshold:
    """`count` replies within `within_s` seconds; 1 is the first reply at once."""

    count: int = 1
    within_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """All that is given must hold; empty means any. `patterns` are tried on code, enhanced code and text as one
    line. `acts` hold for `for_s` seconds, a pause that comes again at once for up to `up_to_s` (0: no longer);
    `bounce` ends the recipient, `retry_s` is its wait."""

    name: str
    patterns: tuple[Pattern, ...] = ()
    codes: frozenset[int] = frozenset()
    enhanced: tuple[Pattern, ...] = ()
    kinds: frozenset[str] = frozenset()
    phases: frozenset[str] = frozenset()
    acts: tuple[tuple[Act, float], ...] = ()
    for_s: float = 0.0
    up_to_s: float = 0.0
    bounce: bool = False
    retry_s: float | None = None
    after: Threshold = Threshold()
    observe: bool = False
    where: str = ""

    def takes(self, reply: Reply, kind: str, phase: str) -> bool:
        """Whether the reply, heard in that phase, is what the rule speaks of."""
        if (self.codes and reply.code not in self.codes) or (self.phases and phase not in self.phases):
            return False
        if self.kinds and kind not in self.kinds:
            return False
        if self.enhanced and not any(one.matches(reply.enhanced) for one in self.enhanced):
            return False
        return not self.patterns or any(one.matches(str(reply)) for one in self.patterns)

    def spares(self, outcome: Outcome) -> bool:
        """Whether a refusal for good is the source's trouble by the rule's own deeds, and no reason to end the
        recipient: unless the rule says so, or the enhanced code blames the mail (decision 19)."""
        if self.bounce or outcome.verdict is not Verdict.FAILED or outcome.reply is None:
            return False
        return any(act in OF_SOURCE for act, _ in self.acts) and not blames_mail(outcome.reply)

    def heard_in(self, reply: Reply) -> frozenset[str]:
        """The phases in which the rule takes the reply; its class may depend on them."""
        return frozenset(
            phase for phase in PHASES if self.takes(reply, classify(reply, of_recipient=phase == "rcpt"), phase)
        )


def deciding(rules: Iterable[ReplyRule], reply: Reply, kind: str, phase: str) -> ReplyRule | None:
    """The first rule that takes the reply, or None."""
    return next((rule for rule in rules if rule.takes(reply, kind, phase)), None)


def asked(
    rule: ReplyRule, reply: Reply, *, source: str, stream: str, provider: str, counted: str, now: float
) -> Iterator[Action]:
    """What the rule puts into the ledger for a reply heard from a source about a stream's mail; `stream` "" when
    no message was named yet: no stream is paused for it."""
    for act, value in rule.acts:
        of_stream = act is Act.PAUSE_STREAM
        if of_stream and not stream:
            continue
        yield Action(
            id=f"{int(now * 1000):x}", act=act, value=value, provider=provider, counted=counted,
            rule=rule.name, where=rule.where, since=now, until=now + rule.for_s, for_s=rule.for_s,
            reply=str(reply)[:REPLY_CHARS], observed=rule.observe,
            source="" if of_stream else source, stream=stream if of_stream else "",
        )  # fmt: skip


def ruled(outcome: Outcome, rule: ReplyRule, *, reached: bool = True) -> Outcome:
    """The outcome as the rule wants it: a 4xx that bounces, a 5xx that is tried again, another wait. Before MAIL there
    is nothing to want; before its threshold is `reached` a rule only spares the recipient what is the source's."""
    said = f"{rule.name} ({rule.where})"
    if outcome.phase.value not in OF_MESSAGE:
        return outcome
    if rule.observe:
        return replace(outcome, rule=f"{said}, observed only") if reached else outcome
    if reached and rule.bounce:
        return replace(outcome, verdict=Verdict.FAILED, rule=said)
    if reached and rule.retry_s is not None:
        return replace(outcome, verdict=Verdict.DEFERRED, again_s=rule.retry_s, rule=said)
    if rule.spares(outcome):
        return replace(outcome, verdict=Verdict.DEFERRED, rule=said)
    return replace(outcome, rule=said) if reached else outcome


def read_reply(text: str) -> Reply:
    """The reply of a text as a server sends it: `421-4.7.28 first`, more lines below; raises ValueError. Codes
    and enhanced codes of further lines are taken off as on the wire."""
    found = [_LINE.fullmatch(line.strip()) for line in text.strip().splitlines()]
    lines = [match for match in found if match is not None]
    if not lines or len(lines) < len(found):
        raise ValueError("a reply begins with its code, each line anew; copy it as the server sends it:"
                         " 421-4.7.28 Gmail has detected …")  # fmt: skip
    code, enhanced = int(lines[-1][1]), ""
    texts = []
    for match in lines:
        status, words = match[2] or "", match[3] or ""
        if status and int(status[0]) != code // 100:
            status, words = "", f"{status} {words}".rstrip()
        enhanced = enhanced or status
        texts.append(words)
    return Reply(code, enhanced, tuple(texts))


@dataclass(slots=True)
class Windows:
    """Counts replies for thresholds, by rule and place."""

    _heard: OrderedDict[Hashable, deque[float]] = field(default_factory=OrderedDict)

    def reached(self, key: Hashable, threshold: Threshold, now: float) -> bool:
        """Counts one reply; whether that makes `count` within the time. What lies in the future was noted
        before the clock went back, and counts no more."""
        if threshold.count <= 1:
            return True
        heard = self._heard.pop(key, None)
        if heard is None or heard.maxlen != threshold.count:
            heard = deque(heard or (), maxlen=threshold.count)
        while heard and (heard[0] <= now - threshold.within_s or heard[-1] > now):
            if heard[-1] > now:
                heard.pop()
            else:
                heard.popleft()
        heard.append(now)
        if len(self._heard) >= WINDOWS_MOST:
            self._heard.popitem(last=False)
        self._heard[key] = heard
        return len(heard) >= threshold.count

    def __len__(self) -> int:
        return len(self._heard)
