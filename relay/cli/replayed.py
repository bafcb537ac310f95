"""What a replay found, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from relay.cli.output import clean, show_table, span

if TYPE_CHECKING:
    from relay.policy.pauses import Held, Span
    from relay.policy.replay import Change, Replay
    from relay.policy.results import Result

ROWS_MOST = 40  # lines of a table on a terminal; --json has all
ON = "goes on"  # a pause that nobody has ended
UNKNOWN = (
    "Answers are those of the log: an attempt is told what its recipient was told at the last recorded attempt before,"
    " or at the first. What a receiver would have said to more mail, to less, from another source, or to attempts that"
    " were never made, nobody knows."
)


def as_dict(played: Replay) -> dict[str, object]:
    """All of it for programs. Times are Unix seconds (UTC), delays seconds, null above three days or without end."""
    old, new = played.old, played.new
    return {
        "messages": played.messages,
        "differs": played.differs,
        "without_facts": played.without_facts,
        "unreadable": played.unreadable,
        "headers_not_recorded": played.not_recorded,
        **{name: _changes(getattr(played, name)) for name in ("routes", "streams", "refusals", "holds")},
        "pauses": [
            {**held._asdict(), "recorded": _span(recorded), "before": _span(before), "after": _span(after)}
            for held, (recorded, before, after) in _pauses(played)
        ],
        "quotas": [
            {"stream": stream, "quota": quota, "before": before, "after": after}
            for (stream, quota), before, after in _beside(old.stocks.turned_back, new.stocks.turned_back)
        ],
        "sends": [
            {"hour": hour * 3600, "provider": provider, "before": before, "after": after}
            for (hour, provider), before, after in _beside(old.sends, new.sends)
        ],
        "sources": [
            {"source": name, "before": before, "after": after} for name, before, after in _beside(old.left, new.left)
        ],
        "results": {
            name: {"before": _result(old.results.get(name)), "after": _result(new.results.get(name))}
            for name in sorted({*old.results, *new.results})
        },
        "refused_at_doors_of_unused_sources": {"before": old.passed_over, "after": new.passed_over},
        "gave_up": {"before": old.given_up, "after": new.given_up},
    }  # fmt: skip


def _changes(changes: dict[tuple[str, str], Change]) -> list[dict[str, object]]:
    return [
        {"before": before, "after": after, "messages": change.count, "examples": change.examples}
        for (before, after), change in sorted(changes.items(), key=lambda pair: -pair[1].count)
    ]


def _result(result: Result | None) -> dict[str, object] | None:
    if result is None:
        return None
    p50, p99 = (None if value == float("inf") else value for value in (result.quantile(0.5), result.quantile(0.99)))
    return {
        "delivered": result.delivered, "bounced": result.bounced, "expired": result.expired, "kept": result.kept,
        "within_objective": result.in_time, "p50_s": p50, "p99_s": p99, "last_at": result.last_at or None,
    }  # fmt: skip


def _span(one: Span | None) -> dict[str, object] | None:
    if one is None:
        return None
    return {"since": one.since, "until": one.until, "because": one.because, "where": one.where}


def _pauses(played: Replay) -> list[tuple[Held, tuple[Span | None, ...]]]:
    """Every pause as it was recorded, and as it is under the old and the new policies."""
    from relay.policy.pauses import compare

    notes = (played.evidence.pauses, played.old.restraints.pauses, played.new.restraints.pauses)
    return list(compare(*notes))


def _beside(before: Mapping[Any, int], after: Mapping[Any, int]) -> list[tuple[Any, int, int]]:
    """Every key with its count before and after, in order."""
    return [(key, before.get(key, 0), after.get(key, 0)) for key in sorted({*before, *after})]


def show(played: Replay) -> None:
    """Prints what would differ, what would come of each stream, and what is not known."""
    from relay.policy.pauses import same

    for title, name in (("route", "routes"), ("stream", "streams"), ("refusal", "refusals"), ("hold", "holds")):
        changes: dict[tuple[str, str], Change] = getattr(played, name)
        rows = [(*pair, change.count, change.examples[0]) for pair, change in _most_first(changes)]
        _table((f"{title} before", "after", "messages", "for example"), rows)
    old, new = played.old, played.new
    pauses = [(held, spans) for held, spans in _pauses(played) if not same(spans[1:])]
    told = [(held.whom, held.what, held.towards, held.rule, *map(_from_to, spans)) for held, spans in pauses]
    _table(("held back", "how", "towards", "rule", "recorded", "before", "after"), told)
    quotas = [row for row in _beside(old.stocks.turned_back, new.stocks.turned_back) if row[1] != row[2]]
    _table(("stream", "over its quota", "messages before", "after"), [(*key, *counts) for key, *counts in quotas])
    hours = [row for row in _beside(old.sends, new.sends) if row[1] != row[2]]
    cells = [(_hour(hour), name, *counts) for (hour, name), *counts in hours]
    _table(("hour", "provider", "sends before", "after"), cells)
    sources = [row for row in _beside(old.left, new.left) if row[1] != row[2]]
    _table(("source", "sends before", "after"), sources)
    columns = ("stream", "", "delivered", "bounced", "expired", "kept", "p50", "p99", "within objective", "last left")
    _table(columns, list(_results(played)))
    _notes(played)


def _most_first(changes: dict[tuple[str, str], Change]) -> list[tuple[tuple[str, str], Change]]:
    return sorted(changes.items(), key=lambda pair: -pair[1].count)


def _hour(hour: int) -> str:
    return time.strftime("%Y-%m-%d %H:00Z", time.gmtime(hour * 3600))


def _from_to(one: Span | None) -> str:
    """`11-20 10:02:11 to 10:32:11`, with the day where it is another one."""
    if one is None:
        return "-"
    since = time.gmtime(one.since)
    if one.until is None:
        return f"{time.strftime('%m-%d %H:%M:%S', since)}, {ON}"
    until = time.gmtime(one.until)
    form = "%H:%M:%S" if until[:3] == since[:3] else "%m-%d %H:%M:%S"
    return f"{time.strftime('%m-%d %H:%M:%S', since)} to {time.strftime(form, until)}"


def _table(columns: Sequence[str], cells: Sequence[Sequence[object]]) -> None:
    """A table, unless it were empty."""
    if not cells:
        return
    show_table(columns, cells[:ROWS_MOST])
    if len(cells) > ROWS_MOST:
        print(f"and {len(cells) - ROWS_MOST} more: --json shows all")
    print()


def _results(played: Replay) -> Iterator[tuple[object, ...]]:
    for name in sorted({*played.old.results, *played.new.results}):
        for word, simulation in (("before", played.old), ("after", played.new)):
            if result := simulation.results.get(name):
                stream = simulation.policy.streams[name]
                share = f"{result.in_time / max(1, result.delivered):.3%}" if stream.objective else "-"
                delays = [_delay(result.quantile(quantile)) if result.delivered else "-" for quantile in (0.5, 0.99)]
                last = time.strftime("%m-%d %H:%M:%S", time.gmtime(result.last_at)) if result.last_at else "-"
                counts = (result.delivered, result.bounced, result.expired, result.kept)
                yield name, word, *counts, *delays, share, last


def _delay(seconds: float) -> str:
    return "over 3d" if seconds == float("inf") else f"≤{span(seconds)}"


def _notes(played: Replay) -> None:
    found = "something would differ" if played.differs else "nothing would differ"
    print(f"{played.messages} messages, {played.evidence.attempts} recorded attempts: {found}")
    if played.differs:
        print(UNKNOWN)
    recorded, before = played.evidence.pauses.total(), played.old.restraints.pauses.total()
    if recorded != before:
        print(
            f"{recorded} pauses were recorded, {before} come of the old policies here: those of the day may have been"
            " other ones, and what an operator did is not repeated"
        )
    if played.new.passed_over:
        print(f"{played.new.passed_over} refusals at a receiver's door met a source that would not have been there")
    if played.new.given_up:
        print(f"{played.new.given_up} messages would have found their stream at its quota for a day")
    if played.without_facts:
        print(
            f"{played.without_facts} messages were recorded without facts (events: {{facts: false}}, or an older"
            " release): rules on headers were asked as if there were none"
        )
    for name, count in played.not_recorded.items():
        print(clean(f"{count} messages do not tell of the header {name}, as no rule asked then: taken as absent"))
    if played.unreadable:
        print(f"{played.unreadable} events could not be read")
