"""Why a message waits, and what limits a destination: one reason, the rule behind it, until when."""

from __future__ import annotations

from dataclasses import replace

from relay.core.gate import Gate
from relay.core.ledger import PAUSES, Action
from relay.core.outcome import Outcome
from relay.deliver.gates import Why
from relay.deliver.outlets import Terms
from relay.deliver.resolve import Route
from relay.policy.model import Pool, Stream
from relay.policy.sources import in_turn
from relay.queue.store import SEND_NOTE, Filter, Row
from relay.service.limits import first_limit, limit_explained, limit_lines, why_paused
from relay.service.relay import Relay
from relay.service.shaping import held_because, kept_back
from relay.web.operator import Explanation

WORDS = {
    "destination_paused": "this destination is left alone after trouble: {why}",
    "reply_rule": "a reply rule keeps {source} from there",
    "connections": "all {most} connections that {source} may have there are in use",
    "reserved": "the connections of {source} that are free there are reserved for other streams ({kept})",
    "connection_rate": "{source} may open only {rate:g} connections a minute there",
    "message_rate": "{source} may send only {rate:g} messages a second there",
    "limit_connections": "all {most} connections of {name} are in use",
    "limit_reserved": "the connections of {name} that are free are reserved for other streams ({kept})",
    "limit_connection_rate": "{name} allows only {rate:g} new connections a minute",
    "limit_message_rate": "{name} allows only {rate:g} messages a second",
    "machine_connections": "all {most} connections of this relay (delivery.connections) are in use",
    "machine_reserved": "the connections of this relay that are free are reserved for other streams ({kept})",
}


LOST = "it was lost after the dot, and may have been delivered; it is sent again, and due"
LOST_HELD = (
    "it was lost after the dot, and may have been delivered; an operator decides: relay queue release {id} sends it"
    " again, relay queue delivered {id} or relay queue cancel {id} ends it"
)


def _where(relay: Relay, row: Row) -> str:
    stream = relay.policy().streams.get(row.stream)
    return stream.where if stream else ""


async def explain_message(relay: Relay, message: str) -> Explanation | None:
    """The reason for the first recipient that waits, and a line for each other."""
    rows = await relay.store.find(Filter(message=message), 100)
    if not rows:
        return None
    reasons = [await _row(relay, row) for row in rows]
    first = reasons[0]
    more = tuple(f"{row.recipient}: {one.reason}" for row, one in zip(rows[1:], reasons[1:], strict=True))
    return Explanation(
        f"message {message} to {rows[0].recipient}", first.reason, first.rule, first.until, first.detail + more
    )


async def _row(relay: Relay, row: Row) -> Explanation:
    now = relay.clock()
    last = (f"last attempt: {row.last}",) if row.last else ()
    if row.waits:
        if found := held_because(relay, row.last):
            return replace(found, subject=row.recipient)
        if row.lost:
            return Explanation(row.recipient, LOST_HELD.format(id=row.message), _where(relay, row), detail=last)
        return Explanation(row.recipient, "held until an operator releases it", detail=last)
    stream = relay.policy().streams.get(row.stream)
    pause = await _pause(relay, row, stream)
    if pause is not None and pause.until > row.due_at:
        return limit_explained(pause, row.recipient, last)
    if row.due_at > now:
        why = f"attempt {row.attempts} failed, the next is due" if row.attempts else "not due yet"
        if row.last.startswith(SEND_NOTE):
            return Explanation(row.recipient, f"not due yet: its client asked to {row.last}", until=row.due_at)
        why = LOST if row.lost else why
        return Explanation(row.recipient, why, stream.where if stream else "", row.due_at, last)
    if any(place.message == row.message for job in relay.dispatcher.jobs for place in job.waiting):
        return Explanation(row.recipient, "it is being delivered now", detail=last)
    limit = await explain_domain(relay, row.recipient.rpartition("@")[2], stream.pool if stream else "", row.stream)
    if limit is not None:
        return Explanation(row.recipient, limit.reason, limit.rule, limit.until, limit.detail + last)
    return Explanation(row.recipient, "it is due and waits for its turn", detail=last)


async def _pause(relay: Relay, row: Row, stream: Stream | None) -> Action | None:
    """The pause a recipient waits for; looks nothing up while nothing is paused."""
    if not relay.actions.ledger.limits or stream is None:
        return None
    route = await relay.routing.resolver.resolve(row.recipient.rpartition("@")[2].lower())
    if isinstance(route, Outcome):
        return None
    return why_paused(relay, relay.policy().pools[stream.pool], route, row.stream)


async def explain_domain(relay: Relay, domain: str, pool: str = "", stream: str = "") -> Explanation | None:
    """What limits a destination now, from the sources of one pool or of all, for one stream or any; None for a
    text that is no domain name."""
    if "." not in domain and not domain.startswith("["):
        return None
    route = await relay.routing.resolver.resolve(domain.lower())
    if isinstance(route, Outcome):
        return Explanation(f"destination {domain}", route.text or str(route.reply or route.phase.value))
    terms = relay.routing.terms(route)
    pools = [one for name, one in relay.policy().pools.items() if pool in ("", name)]
    found = [_gate(relay, source_pool, route, terms, stream) for source_pool in pools]
    limited = [group[0] for group in found if group and all(one.reason != "nothing" for one in group)]
    detail = (
        f"site {route.site}, provider {terms.provider}, limits counted for {terms.counted}",
        *(f"host {host.name} [{', '.join(host.addresses)}]" for host in route.hosts[:5]),
        *(line for group in found for one in group for line in one.detail),
        *limit_lines(relay, pools, terms.counted, stream),
    )
    subject = f"destination {domain}"
    action = first_limit(relay, pools, terms.counted, stream)
    if action is not None and (action.act in PAUSES or not limited or not limited[0].rule):
        return limit_explained(action, subject, detail)
    if not limited:
        return Explanation(subject, "nothing limits it now", terms.where, None, detail)
    return Explanation(subject, limited[0].reason, limited[0].rule or terms.where, limited[0].until, detail)


def _gate(relay: Relay, pool: Pool, route: Route, terms: Terms, stream: str) -> list[Explanation]:
    """One line for each source of a pool: mail is limited where none of them is free."""
    lines, gates = [], relay.dispatcher.connector.gates
    for source in in_turn(pool, route.site):
        if kept := kept_back(relay, stream, source.name, terms.provider):
            lines.append(kept)
            continue
        trouble = gates.trouble(source, route.site)
        why = gates.why_not(source, route.site, terms, pool, now=relay.clock(), stream=stream or None)
        detail = tuple(_state(gate, source.name) for gate in gates.way(source, terms, pool) if gate.open or gate.line)
        lines.append(_one_source(why, source.name, trouble, relay, detail))
    return lines


def _state(gate: Gate, source: str) -> str:
    opens = gate.opening and gate.window < gate.rates.connections
    return (
        f"{gate.name or f'source {source}'}: {gate.open} of {gate.most} connections, "
        f"{sum(gate.busy.values())} deliveries under way, {len(gate.line)} waiting"
        f"{'; after a pause, more as messages are taken' if opens else ''}"
    )


def _one_source(
    why: Why | None, source: str, trouble: str, relay: Relay, detail: tuple[str, ...]
) -> Explanation:
    if why is None:
        return Explanation(source, "nothing", detail=detail)
    gate, by_minute = why.gate, why.reason.endswith("connection_rate")
    text = WORDS[why.reason].format(
        why=trouble, most=gate.most, source=source, name=gate.name,
        rate=gate.rates.connections_per_minute if by_minute else gate.rates.messages_per_second,
        kept=", ".join(f"{name} {slots}" for name, slots in gate.kept()),
    )  # fmt: skip
    named = relay.policy().limits.get(gate.name.removeprefix("limit "))
    until = None if why.until == float("inf") else why.until
    return Explanation(source, text, named.where if named else "", until, detail)
