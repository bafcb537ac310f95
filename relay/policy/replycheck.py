"""What is wrong with reply rules: samples they miss, replies another rule takes first, acts without effect."""

from __future__ import annotations

from collections.abc import Iterator

from relay.core.replies import OF_MESSAGE, ReplyRule
from relay.core.reply import Reply
from relay.policy.draft import Draft, Placed
from relay.policy.entries import LimitsEntry, ProviderEntry
from relay.policy.replies import ReplyEntry, compile_reply
from relay.policy.strict import Problem

Path = tuple[str | int, ...]
Provider = Placed[ProviderEntry]


def check_replies(draft: Draft) -> Iterator[Problem]:
    """Every problem of every provider's reply rules."""
    for provider in draft.providers:
        earlier: list[ReplyRule] = []
        for number, entry in enumerate(provider.entry.replies):
            path = ("replies", number)
            rule = compile_reply(entry, provider.origin.line_of(*path))
            problems = [*_samples(provider, path, entry, rule), *_acts(provider, path, entry)]
            yield from problems
            if not problems:
                yield from _order(provider, path, entry, rule, earlier)
            earlier.append(rule)


def _samples(provider: Provider, path: Path, entry: ReplyEntry, rule: ReplyRule) -> Iterator[Problem]:
    """A rule must take its samples and leave what it says it leaves."""
    problem = provider.origin.problem
    if not (rule.patterns or rule.codes or rule.enhanced or rule.kinds):
        hint = "give it `match:`, `code:`, `enhanced:` or `class:`"
        yield problem(f"`{rule.name}` does not say which replies it is for", hint, *path)
        return
    for key, samples, wanted in (("sample", entry.sample, True), ("not_sample", entry.not_sample or [], False)):
        for number, reply in enumerate(samples):
            if bool(rule.heard_in(reply)) is not wanted:
                fault = _why_not(rule, reply) if wanted else "is taken, and must not be"
                hint = "correct the pattern or the sample; a pattern sees code, enhanced code and text as one line"
                yield problem(f"`{rule.name}`: its {key} `{_short(reply)}` {fault}", hint, *path, key, number)


def _why_not(rule: ReplyRule, reply: Reply) -> str:
    """What keeps a rule from taking its own sample."""
    if rule.codes and reply.code not in rule.codes:
        return "has another code"
    if rule.enhanced and not any(one.matches(reply.enhanced) for one in rule.enhanced):
        return f"has the enhanced code `{reply.enhanced}`" if reply.enhanced else "has no enhanced code"
    if rule.patterns and not any(one.matches(str(reply)) for one in rule.patterns):
        return "does not match `match`"
    return "is of another class"


def _acts(provider: Provider, path: Path, entry: ReplyEntry) -> Iterator[Problem]:
    """Acts that contradict each other or can have no effect."""
    problem, do, name = provider.origin.problem, entry.do, entry.name
    lasting = do.slow_to is not None or do.connections is not None or do.pause is not None
    if not (lasting or do.bounce or do.retry is not None):
        hint = "give it `slow_to`, `connections`, `pause`, `bounce` or `retry`"
        yield problem(f"`{name}` does nothing", hint, *path, "do")
    if lasting and do.lasts is None:
        yield problem(f"`{name}` does not say for how long", "add `for: 30m` to `do`", *path, "do")
    if do.lasts is not None and not lasting:
        hint = "remove it, or add `slow_to`, `connections` or `pause`"
        yield problem(f"`{name}`: `for` has nothing to limit", hint, *path, "do", "for")
    if do.bounce and do.retry is not None:
        yield problem(f"`{name}` says both `bounce` and `retry`", "remove one of them", *path, "do", "retry")
    if do.up_to is not None and (do.pause != "source" or do.up_to <= (do.lasts or 0.0)):
        hint = "remove it, or write `pause: source` and an `up_to` above `for`"
        yield problem(f"`{name}`: `up_to` has no pause to make longer", hint, *path, "do", "up_to")
    of_source = do.slow_to is not None or do.connections is not None or do.pause == "source"
    if do.bounce and not of_source and all(reply.severity == 5 for reply in entry.sample):
        hint = "remove `bounce`; it is for 4xx that will never pass"
        yield problem(f"`{name}`: a 5xx bounces by itself", hint, *path, "do", "bounce")
    yield from _unheard(provider, path, entry)
    yield from _weaker(provider, path, entry, provider.entry.per_source)


def _unheard(provider: Provider, path: Path, entry: ReplyEntry) -> Iterator[Problem]:
    """Before MAIL there is no stream and no recipient."""
    if not entry.phase or OF_MESSAGE & set(entry.phase):
        return
    for key, used in (("bounce", entry.do.bounce), ("retry", entry.do.retry), ("pause", entry.do.pause == "stream")):
        if used:
            message = f"`{entry.name}`: `{key}` needs a message, and there is none in the phase {entry.phase[0]}"
            hint = "pause the source, or hear mail, rcpt, data or dot too"
            yield provider.origin.problem(message, hint, *path, "do", key)


def _weaker(provider: Provider, path: Path, entry: ReplyEntry, limits: LimitsEntry) -> Iterator[Problem]:
    """A limit that is no tighter than the one always in force."""
    if entry.do.connections is not None and entry.do.connections >= limits.connections:
        message = f"`{entry.name}`: `{provider.name}` has no more than {limits.connections} connections at any time"
        yield provider.origin.problem(message, "write fewer", *path, "do", "connections")
    if entry.do.slow_to is not None and limits.messages is not None and entry.do.slow_to >= limits.messages:
        message = f"`{entry.name}`: `{provider.name}` is never faster than that"
        yield provider.origin.problem(message, "write a slower rate", *path, "do", "slow_to")


def _order(
    provider: Provider, path: Path, entry: ReplyEntry, rule: ReplyRule, earlier: list[ReplyRule]
) -> Iterator[Problem]:
    """A rule whose samples earlier rules take in every phase can never apply."""
    if any(rule.name == other.name for other in earlier):
        yield provider.origin.problem(f"a second rule `{rule.name}`", "rename one of them", *path, "name")
    first = [_taker(rule, reply, earlier) for reply in entry.sample]
    if all(first):
        other = first[0]
        assert other is not None
        message = f"`{rule.name}` can never apply: `{other.name}` ({other.where}) takes its samples first"
        yield provider.origin.problem(message, "move it further up, or make the other narrower", *path)


def _taker(rule: ReplyRule, reply: Reply, earlier: list[ReplyRule]) -> ReplyRule | None:
    """The first rule that keeps a reply from another, when nothing of it is left."""
    left = rule.heard_in(reply)
    takers = []
    for other in earlier:
        if left & other.heard_in(reply):
            left -= other.heard_in(reply)
            takers.append(other)
    return takers[0] if takers and not left else None


def _short(reply: Reply) -> str:
    text = str(reply)
    return text if len(text) <= 60 else text[:59] + "…"
