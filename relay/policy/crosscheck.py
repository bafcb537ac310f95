"""What is wrong between entries: names that do not exist, rules that cannot match, shares above the whole."""

from __future__ import annotations

from collections.abc import Iterator

from relay.core.pattern import Pattern, covers
from relay.policy.brakes import brake_complaints
from relay.policy.conditions import compile_match, empty_matches, names_used, never
from relay.policy.doorcheck import check_doors
from relay.policy.draft import Draft, Placed
from relay.policy.entries import RouteEntry, StreamEntry
from relay.policy.fields import ONCE_ONLY
from relay.policy.limits import check_limits
from relay.policy.replycheck import check_replies
from relay.policy.rules import Condition
from relay.policy.strict import Problem
from relay.policy.validate import nearest
from relay.policy.warmup import warmup_complaints

Names = frozenset[str] | None


def check_policy(draft: Draft, *, folder: str, listeners: Names, credentials: Names) -> list[Problem]:
    """Every problem between entries. `listeners` and `credentials` are the names that exist, None unknown."""
    return [
        *_missing(draft, folder),
        *_streams(draft),
        *_brakes(draft, credentials),
        *_reserves(draft),
        *_sources(draft),
        *_routes(draft),
        *_order(draft),
        *_named(draft, "listener", listeners),
        *_named(draft, "credential", credentials),
        *_providers(draft),
        *check_limits(draft),
        *check_replies(draft),
        *_tests(draft),
        *check_doors(draft),
    ]


def _missing(draft: Draft, folder: str) -> Iterator[Problem]:
    for section in ("streams", "pools", "routes", "providers"):
        if not draft.named(section):
            yield Problem(folder, 0, 0, f"no file has `{section}:`", "start from policies/ as shipped")


def _streams(draft: Draft) -> Iterator[Problem]:
    for stream in draft.streams:
        pools, entry = draft.named("pools"), stream.entry
        if entry.pool not in pools:
            hint = nearest(entry.pool, list(pools))
            yield stream.origin.problem(f"there is no pool `{entry.pool}`", hint, "pool")
        if entry.retry.expire <= entry.retry.after[0]:
            hint = "make `expire` longer than the first wait of `after`"
            yield stream.origin.problem(
                "mail would expire before it is tried a second time", hint, "retry", "expire"
            )
        notice = entry.delay_notice
        if notice is not None and notice >= entry.retry.expire:
            hint = "make it shorter than `retry: expire`, or leave it out"
            yield stream.origin.problem("the delay notice would come after the bounce", hint, "delay_notice")
        yield from _signings(stream)


def _brakes(draft: Draft, credentials: Names) -> Iterator[Problem]:
    tags: Names = frozenset(tag for route in draft.routes for tag in route.entry.tag)
    if not draft.routes or len(draft.routes) < len(draft.named("routes")):
        tags = None  # some route could not be read: nothing can be said of its tags
    for stream in draft.streams:
        for number, (path, message, hint) in brake_complaints(
            stream.entry.brakes, tags=tags, credentials=credentials
        ):
            yield stream.origin.problem(message, hint, "brakes", number, *path)


def _signings(stream: Placed[StreamEntry]) -> Iterator[Problem]:
    """Two signatures of one selector would verify against one record."""
    seen: set[tuple[str, str]] = set()
    for number, one in enumerate(stream.entry.dkim):
        if (one.domain, one.selector) in seen:
            message = f"a second signature with selector `{one.selector}`"
            yield stream.origin.problem(message, "give each key its own selector", "dkim", number)
        seen.add((one.domain, one.selector))


def _reserves(draft: Draft) -> Iterator[Problem]:
    """Streams share the machine's connections, whatever their pools: their reserves must fit into one whole."""
    reserved = [stream for stream in draft.streams if stream.entry.reserve]
    total = sum(stream.entry.reserve for stream in reserved)
    if total > 1 + 1e-9:
        names = " + ".join(f"{stream.name} {stream.entry.reserve:.0%}" for stream in reserved)
        message = f"the reserves sum to {total:.0%} ({names})"
        yield reserved[-1].origin.problem(message, "lower them to 100% in all", "reserve")


def _sources(draft: Draft) -> Iterator[Problem]:
    for pool in draft.pools:
        names: set[str] = set()
        for number, source in enumerate(pool.entry.sources):
            path = ("sources", number)
            if source.name in names:
                yield pool.origin.problem(f"a second source `{source.name}`", "rename one", *path, "name")
            names.add(source.name)
            for where, message, hint in warmup_complaints(source.warmup) if source.warmup else ():
                yield pool.origin.problem(message, hint, *path, "warmup", *where)
            for key, family in (("address", 4), ("address6", 6)):
                address = getattr(source, key)
                if address and (":" in address) != (family == 6):
                    hint = "IPv4 stands in `address`, IPv6 in `address6`"
                    yield pool.origin.problem(f"{address} is not an IPv{family} address", hint, *path, key)


def _routes(draft: Draft) -> Iterator[Problem]:
    for route in draft.routes:
        entry, streams = route.entry, draft.named("streams")
        if entry.stream is not None and entry.stream not in streams:
            hint = nearest(entry.stream, list(streams))
            yield route.origin.problem(f"there is no stream `{entry.stream}`", hint, "stream")
        if (entry.stream is None) == (entry.refuse is None):
            hint = "give it `stream: NAME`, or `refuse: TEXT`"
            fault = (
                "says neither where its mail goes nor"
                if entry.stream is None
                else "says both where its mail goes and"
            )
            yield route.origin.problem(f"route `{route.name}` {fault} that it is refused", hint)
        if entry.refuse is not None:
            for key in ("hold", "tag", "headers"):
                if key in entry.model_fields_set:
                    hint = f"remove `{key}:`"
                    yield route.origin.problem(f"`{key}` has no effect on mail that is refused", hint, key)
        yield from _headers(route)


def _headers(route: Placed[RouteEntry]) -> Iterator[Problem]:
    removed = {name.lower() for name in route.entry.headers.remove}
    for name in route.entry.headers.add:
        if name.lower() in ONCE_ONLY - removed:
            hint = f"list {name} in `remove:` too, to replace it"
            message = f"a message may have only one {name} (RFC 5322 §3.6)"
            yield route.origin.problem(message, hint, "headers", "add", name)


def _order(draft: Draft) -> Iterator[Problem]:
    """Rules that no message can reach."""
    taken: list[tuple[Condition | None, Placed[RouteEntry]]] = []
    for route in draft.routes:
        condition = None
        if route.entry.when:
            empty = list(empty_matches(route.entry.when, ("when",)))
            for path in empty:
                hint = "say what must match, or leave `when:` out of the last route"
                yield route.origin.problem("an empty condition says nothing", hint, *path)
            if empty:
                continue
            condition = compile_match(route.entry.when)
            if reason := never(condition):
                yield route.origin.problem(
                    f"`{route.name}` can never match: {reason}", "correct it or remove it", "when"
                )
        for earlier, other in taken:
            if earlier is None or earlier == condition:
                why = "takes everything" if earlier is None else "has the same condition"
                message = f"`{route.name}` can never match: `{other.name}` ({other.origin.where}) {why}"
                yield route.origin.problem(message, "move it further up, or remove it")
                break
        taken.append((condition, route))
    last = draft.routes[-1] if draft.routes else None
    if last and last.entry.when and not any(earlier is None for earlier, _ in taken):
        hint = "end with `- {name: everything else, stream: NAME}`"
        yield last.origin.problem(f"the last route `{last.name}` must take everything", hint, "when")


def _named(draft: Draft, kind: str, known: Names) -> Iterator[Problem]:
    """Patterns for names of which none exists."""
    for route in draft.routes if known is not None else ():
        for pattern, path in names_used(route.entry.when, ("when",), kind) if route.entry.when else ():
            if not any(pattern.matches(name) for name in known or ()):
                hint = nearest(pattern.text, sorted(known or ()))
                yield route.origin.problem(f"no {kind} is called `{pattern}`", hint, *path)


def _providers(draft: Draft) -> Iterator[Problem]:
    earlier: list[tuple[Pattern, str, str]] = []
    for provider in draft.providers:
        swallowed = [_swallower(pattern, earlier) for pattern in provider.entry.mx]
        if all(swallowed):
            message = f"no MX reaches `{provider.name}`: {swallowed[0]} takes them first"
            yield provider.origin.problem(message, "move it further up, or remove it", "mx")
        else:
            for number, (pattern, who) in enumerate(zip(provider.entry.mx, swallowed, strict=True)):
                if who:
                    message = f"`{pattern}` is never reached: {who} takes it first"
                    yield provider.origin.problem(message, "remove it, or move it up", "mx", number)
        earlier += [(pattern, provider.name, provider.origin.where) for pattern in provider.entry.mx]
    if draft.providers and not any(pattern.text == "*" for pattern in draft.providers[-1].entry.mx):
        last = draft.providers[-1]
        hint = 'end with `everyone else: {mx: "*"}`'
        yield last.origin.problem(f"the last provider `{last.name}` must take everyone", hint, "mx")


def _swallower(pattern: Pattern, earlier: list[tuple[Pattern, str, str]]) -> str:
    return next(
        (f"`{wide}` of `{name}` ({where})" for wide, name, where in earlier if covers(wide, pattern)), ""
    )


def _tests(draft: Draft) -> Iterator[Problem]:
    for test in draft.tests:
        expect = test.entry.expect
        if not expect.model_fields_set:
            yield test.origin.problem(
                "a test that expects nothing shows nothing", "expect a route or a stream", "expect"
            )
        for kind, name in (("route", expect.route), ("stream", expect.stream)):
            known = draft.named(f"{kind}s")
            if name is not None and name not in known:
                yield test.origin.problem(
                    f"there is no {kind} `{name}`", nearest(name, list(known)), "expect", kind
                )
