"""What each listener's sessions share, wired: mail goes to the intake, reports on our mail to the feedback desk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from relay.config.model import Config
from relay.core.envelope import Submission
from relay.core.events import Event
from relay.core.reply import Reply
from relay.inbound.access import Access
from relay.inbound.intake import Intake
from relay.inbound.reception import Budget, Reception, Seating
from relay.inbound.transaction import BOUNCES
from relay.queue.spool import Spool
from relay.service.descriptors import descriptors_for_clients
from relay.service.settings import listener_context, listener_settings


class Reports(Protocol):
    """The feedback desk, here or at the engine."""

    def takes(self, address: str) -> bool: ...

    async def accept(self, submission: Submission) -> Reply: ...


def receptions(
    config: Config, access: Access, intake: Intake, feedback: Reports, *, budget: Budget,
    seats: Callable[[str], Seating], notify: Callable[[Event], None], spool: Spool,
) -> list[Reception]:  # fmt: skip
    """One for each listener, in the order of the configuration; raises OSError for a certificate that cannot be
    read."""
    clients, spool.descriptors = descriptors_for_clients(config.delivery.connections)
    return [
        Reception(
            listener_settings(config, name, one), access,
            feedback.accept if one.accepts == BOUNCES else intake.accept, budget=budget,
            tls=listener_context(config, one), notify=notify, spool=spool,
            takes=feedback.takes, crowded=never if one.accepts == BOUNCES else intake.crowded, seats=seats(name),
            kept=intake.kept, descriptors=clients,
        )
        for name, one in config.listeners.items()
    ]  # fmt: skip


def never(listener: str, credential: str, now: float) -> bool:
    """Bounces are no load worth a refusal: who sends them may not come again."""
    return False
