"""What each listener's sessions share, wired: mail goes to the intake, reports on our mail to the feedback desk."""

from __future__ import annotations

from collections.abc import Callable

from relay.config.model import Config
from relay.core.events import Event
from relay.inbound.access import Access
from relay.inbound.feedback import Feedback
from relay.inbound.intake import Intake
from relay.inbound.reception import MemoryBudget, Reception
from relay.inbound.transaction import BOUNCES
from relay.queue.spool import Spool
from relay.service.settings import listener_context, listener_settings


def receptions(
    config: Config, access: Access, intake: Intake, feedback: Feedback, *,
    notify: Callable[[Event], None], on_connection: Callable[[int], None], spool: Spool,
) -> list[Reception]:  # fmt: skip
    """One for each listener, in the order of the configuration; raises OSError for a certificate that cannot be
    read."""
    budget = MemoryBudget(config.memory_budget_bytes)
    return [
        Reception(
            listener_settings(config, name, one), access,
            feedback.accept if one.accepts == BOUNCES else intake.accept, budget=budget,
            tls=listener_context(config, one), notify=notify, on_connection=on_connection, spool=spool,
            takes=feedback.takes, crowded=never if one.accepts == BOUNCES else intake.crowded,
        )
        for name, one in config.listeners.items()
    ]  # fmt: skip


def never(listener: str, credential: str, now: float) -> bool:
    """Bounces are no load worth a refusal: who sends them may not come again."""
    return False
