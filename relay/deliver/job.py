"""One message on its way to one site: what a connection is given to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.core.waiting import Waiting
from relay.queue.store import Stored
from relay.smtp.transaction import Delivery


@dataclass(slots=True, eq=False)
class Job:
    """`waiting` are the recipients of this transaction, in the order of `delivery.recipients`.
    `begun_at` is when a connection took it (Unix s); `marks` are its slots in the journal of what is under way."""

    stored: Stored
    waiting: list[Waiting]
    delivery: Delivery
    begun_at: float
    marks: list[int] = field(default_factory=list)

    @property
    def stream(self) -> str:
        """The stream whose slot it uses."""
        return self.waiting[0].stream

    def end(self) -> None:
        """Lets go of the delivery, which knows its job: the two would keep each other, and the whole message, in
        memory until garbage is collected."""
        self.delivery = None  # type: ignore[assignment]  # nobody asks for it any more


def make_job(stored: Stored, taken: list[Waiting], now: float) -> Job | None:
    """The job for those of `taken` that still wait; None when none does."""
    waiting = [place for place in taken if place.nth in stored.recipients]
    if not waiting:
        return None
    message, envelope = stored.message, stored.message.envelope
    job = Job(stored, waiting, None, now)  # type: ignore[arg-type]  # the delivery's token is the job itself
    job.delivery = Delivery(
        token=job,
        sender=message.return_path,
        recipients=tuple(stored.recipients[place.nth] for place in waiting),
        size=message.content.size,
        eight_bit=message.content.eight_bit,
        utf8=envelope.utf8,
        ret=envelope.ret,
        envid=envelope.envid,
    )
    return job
