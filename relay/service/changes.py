"""What of a new configuration a reload takes, and what waits for a restart."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from relay.config.model import Config, Listener

# Sockets, files and connections are opened once, with these. All else is taken by a reload: policies,
# credentials, certificates, and everything of a listener but where it listens.
FIXED = (
    "hostname", "data", "workers", "queue", "delivery", "dns", "metrics", "control", "events", "memory_budget_bytes",
)  # fmt: skip
OF_A_SOCKET = ("bind", "accepts")  # of a listener


def in_force(running: Config, wanted: Config) -> tuple[Config, list[str]]:
    """The configuration after a reload: `wanted`, but for what only a restart changes, which stays as in
    `running`. With it the names of those settings, as they are written: `listeners.smtps.bind`."""
    waiting = [name for field in FIXED for name in _differing(field, running, wanted)]
    listeners = dict(running.listeners)
    for name, listener in wanted.listeners.items():
        if name not in running.listeners:
            waiting.append(f"listeners.{name} (added)")
            continue
        listeners[name] = _where_it_was(running.listeners[name], listener)
        waiting += [
            f"listeners.{name}.{key}" for key in OF_A_SOCKET if getattr(listener, key) != getattr(listeners[name], key)
        ]
    waiting += [f"listeners.{name} (removed)" for name in running.listeners if name not in wanted.listeners]
    kept = {field: getattr(running, field) for field in FIXED}
    return wanted.model_copy(update={**kept, "listeners": listeners}), waiting


def restart_notes(waiting: list[str]) -> list[str]:
    """One line for people, or none."""
    return [f"needs a restart: {', '.join(waiting)}"] if waiting else []


def _where_it_was(before: Listener, now: Listener) -> Listener:
    return now.model_copy(update={name: getattr(before, name) for name in OF_A_SOCKET})


def _differing(field: str, before: BaseModel, now: BaseModel) -> Iterator[str]:
    """The keys under a field whose values are not the same."""
    key = type(now).model_fields[field].alias or field
    old, new = getattr(before, field), getattr(now, field)
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        for inner in type(new).model_fields:
            yield from (f"{key}.{name}" for name in _differing(inner, old, new))
    elif old != new:
        yield key
