"""Why a message waits, and what limits a destination: one reason, the rule behind it, until when."""

from __future__ import annotations

import time
from dataclasses import replace

from relay.core.ledger import PAUSES, Action
from relay.core.limits import Gate
from relay.core.outcome import Outcome
from relay.deliver.outlets import Terms
from relay.deliver.resolve import Route
from relay.deliver.sources import in_turn
from relay.policy.model import Pool, Stream
from relay.queue.store import Filter, Row
from relay.service.limits import first_limit, limit_explained, limit_lines, why_paused
from relay.service.relay import Relay
from relay.service.shaping import held_because, kept_back
from relay.web.operator import Explanation

WORDS = {
    "destination_paused": "this destination is left alone after trouble: {why}",
    "reply_rule": "a reply rule keeps {source} from there",
    "connections": "all {most} connections that {source} may have there are in use",
    "connection_rate": "{source} may open only {rate:g} connections a minute there",
    "message_rate": "{source} may send only {rate:g} messages a second there",
}


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
    now = time.time()
    last = (f"last attempt: {row.last}",) if row.last else ()
    if row.state == "held":
        if found := held_because(relay, row.last):
            return replace(found, subject=row.recipient)
        return Explanation(row.recipient, "held until an operator releases it", detail=last)
    stream = relay.policy().streams.get(row.stream)
    pause = await _pause(relay, row, stream)
    if pause is not None and pause.until > row.due_at:
        return limit_explained(pause, row.recipient, last)
    if row.due_at > now:
        why = f"attempt {row.attempts} failed, the next is due" if row.attempts else "not due yet"
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
    lines = []
    for source in in_turn(pool, route.site):
        gate = relay.dispatcher.connector.gates.gates.get((source.name, terms.counted))
        trouble = relay.dispatcher.connector.gates.trouble(source, route.site)
        if kept := kept_back(relay, stream, source.name, terms.provider):
            lines.append(kept)
        elif gate is None and not trouble:
            lines.append(Explanation(source.name, "nothing"))
        else:
            found = relay.dispatcher.connector.gates.why_not(source, route.site, terms, time.time())
            lines.append(_one_gate(gate or Gate(terms.rates), source.name, *found, trouble))
    return lines


def _one_gate(gate: Gate, source: str, reason: str, until: float, trouble: str) -> Explanation:
    state = f"source {source}: {gate.open} of {gate.most} connections, {sum(gate.busy.values())} deliveries under way"
    if not reason:
        return Explanation(source, "nothing", detail=(state,))
    rate = gate.rates.connections_per_minute if reason == "connection_rate" else gate.rates.messages_per_second
    text = WORDS[reason].format(why=trouble, most=gate.most, source=source, rate=rate)
    return Explanation(source, text, until=None if until == float("inf") else until, detail=(state,))
