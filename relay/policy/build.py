"""From the trees of policy files to one immutable Policy, or everything that is wrong with them.

Streams, pools and providers are merged by name over all files; routes and providers are asked in the order
of file names and, within a file, as written.
"""

from __future__ import annotations

from collections.abc import Mapping
from posixpath import join
from types import MappingProxyType

from relay.core.headers import Headers
from relay.core.reply import reply
from relay.core.retry import Retry
from relay.policy.brakes import brake_rules
from relay.policy.conditions import compile_match
from relay.policy.crosscheck import check_policy
from relay.policy.draft import Draft, Placed, draft
from relay.policy.entries import (
    ExampleEntry,
    GivenEntry,
    PoolEntry,
    ProviderEntry,
    RetryEntry,
    RouteEntry,
    SigningEntry,
    SourceEntry,
    StreamEntry,
)
from relay.policy.facts import Facts
from relay.policy.guard import compile_guard
from relay.policy.limits import compile_limits
from relay.policy.model import (
    Example,
    Limits,
    Objective,
    Policy,
    Pool,
    Provider,
    Route,
    Signing,
    Source,
    Stream,
)
from relay.policy.quota import compile_quota
from relay.policy.recorded import headers_asked
from relay.policy.replies import compile_replies
from relay.policy.strict import Node, Problem
from relay.policy.warmup import warmup_of


def build_policy(
    trees: Mapping[str, Node],
    *,
    folder: str = "",
    listeners: frozenset[str] | None = None,
    credentials: frozenset[str] | None = None,
    partial: bool = False,
) -> tuple[Policy | None, list[Problem]]:
    """The policy of the files (base name → tree), or None and every problem. `folder` is where relative key
    paths start. `listeners` and `credentials` are the names there are, None where that is unknown. `partial`
    says that some file could not be read, so that nothing can be said of what is missing."""
    entries = draft(trees)
    problems = list(entries.problems)
    if not partial:
        problems += check_policy(entries, folder=folder, listeners=listeners, credentials=credentials)
    if problems:
        return None, sorted(set(problems))
    return (None if partial else _policy(entries, folder)), []


def _policy(entries: Draft, folder: str) -> Policy:
    """The compiled form of entries that have been found right."""
    streams = {one.name: _stream(one, folder) for one in entries.streams}
    routes = tuple(_route(one, streams) for one in entries.routes)
    return Policy(
        streams=MappingProxyType(streams),
        pools=MappingProxyType({one.name: _pool(one) for one in entries.pools}),
        routes=routes,
        providers=tuple(_provider(one) for one in entries.providers),
        examples=tuple(_example(one) for one in entries.tests),
        limits=MappingProxyType(compile_limits(entries.limits)),
        asked=headers_asked(routes),
    )


def _stream(placed: Placed[StreamEntry], folder: str) -> Stream:
    entry = placed.entry
    objective = entry.objective
    return Stream(
        name=placed.name,
        pool=entry.pool,
        retry=_retry(entry.retry),
        signings=tuple(_signing(one, folder) for one in entry.dkim),
        return_path=entry.return_path,
        priority=entry.priority,
        weight=entry.weight,
        reserve=entry.reserve,
        delay_notice_s=entry.delay_notice or 0.0,
        objective=Objective(objective.within, objective.share) if objective else None,
        eight_bit=entry.eight_bit,
        brakes=brake_rules(entry.brakes, [placed.origin.at("brakes", one) for one in range(len(entry.brakes))]),
        guard=compile_guard(entry.guard),
        require=tuple(entry.require),
        quota=compile_quota(entry.quota),
        lost_after_dot=entry.lost_after_dot,
        where=placed.origin.where,
    )


def _retry(entry: RetryEntry) -> Retry:
    return Retry(tuple(entry.after), entry.then, entry.expire, entry.jitter)


def _signing(entry: SigningEntry, folder: str) -> Signing:
    key = join(folder, entry.key.file) if entry.key else ""
    return Signing(entry.domain, entry.selector, entry.algorithm, key, entry.required)


def _pool(placed: Placed[PoolEntry]) -> Pool:
    sources = tuple(
        _source(one, placed.origin.at("sources", number)) for number, one in enumerate(placed.entry.sources)
    )
    return Pool(placed.name, sources, placed.origin.where, tuple(placed.entry.limits))


def _source(one: SourceEntry, where: str) -> Source:
    warmup = warmup_of(one.warmup, where)
    return Source(one.name, one.address or "", one.address6 or "", one.helo or "", one.weight, warmup, where)


def _provider(placed: Placed[ProviderEntry]) -> Provider:
    entry = placed.entry.per_source
    limits = Limits(
        connections=entry.connections,
        messages_per_connection=entry.messages_per_connection,
        connections_per_minute=max(1, round(entry.new_connections * 60)) if entry.new_connections else 0,
        messages_per_second=entry.messages or 0.0,
        tls=entry.tls,
    )
    replies = compile_replies(placed.entry.replies, lambda number: placed.origin.line_of("replies", number))
    return Provider(
        placed.name, tuple(placed.entry.mx), limits, placed.origin.where, replies, tuple(placed.entry.limits)
    )


def _route(placed: Placed[RouteEntry], streams: Mapping[str, Stream]) -> Route:
    entry = placed.entry
    return Route(
        name=placed.name,
        condition=compile_match(entry.when) if entry.when else None,
        stream=streams[entry.stream] if entry.stream else None,
        refusal=reply(550, "5.7.1", entry.refuse) if entry.refuse else None,
        hold=entry.hold,
        tags=tuple(entry.tag.items()),
        headers_remove=tuple(entry.headers.remove),
        headers_add=tuple(entry.headers.add.items()),
        where=placed.origin.where,
    )


def _example(placed: Placed[ExampleEntry]) -> Example:
    expect = placed.entry.expect.model_dump(exclude_unset=True)
    return Example(placed.name, _facts(placed.entry.given), MappingProxyType(expect), placed.origin.where)


def _facts(given: GivenEntry) -> Facts:
    """The message an example speaks of; its `subject:` stands for the header."""
    lines = [f"{name}: {value}" for name, value in given.headers.items()]
    if given.subject:
        lines.append(f"Subject: {given.subject}")
    block = "".join(f"{line}\r\n" for line in lines).encode()
    return Facts(
        listener=given.listener,
        client=given.client,
        credential=given.credential,
        sender="" if given.sender == "<>" else given.sender,
        recipients=tuple(given.recipients),
        headers=Headers.parse(block),
        size=given.size,
        hour=given.hour,
    )
