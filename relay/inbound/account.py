"""What one client has sent, of what it may: `daily` and `rate` of a credential or a listener."""

from __future__ import annotations

import time
from dataclasses import dataclass

from relay.core.quota import Allowance, Day, Meter
from relay.inbound.refusals import Refused


@dataclass(slots=True)
class Account:
    """What one credential, or one listener's clients without, have sent."""

    allowance: Allowance
    meter: Meter | None
    day: Day

    def take(self, number: int, now: float) -> None:
        if self.meter:
            self.meter.take(number, now)
        self.day.take(number, now)

    def give(self, number: int, now: float) -> None:
        if self.meter:
            self.meter.give(number)
        self.day.take(-number, now)

    def refusal(self, who: str, number: int, now: float) -> Refused | None:
        """The refusal of `number` more recipients; None while they may come."""
        daily = self.allowance.daily
        if daily and (ready := self.day.ready_at(number, daily, now)) > now:
            when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ready))
            return Refused("client-daily", client=who, limit=daily, when=when)
        if self.meter and (ready := self.meter.ready_at(number, now)) > now:
            return Refused("client-rate", client=who, pace=self.meter.pace.text, seconds=whole_wait_s(ready, now))
        return None


def whole_wait_s(ready: float, now: float) -> int:
    """Whole seconds to wait, at least one."""
    return max(1, round(ready - now))
