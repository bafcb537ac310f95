"""One stream's due recipients at one outlet: apps take turns, and inside an app its campaigns.

Round robin by message, which is deficit round robin with every message at the same price: what is scarce is the
slot, and a message takes one. A flow that has nothing left loses its place and saves up nothing. Every
operation costs the same however many flows and recipients wait.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any

from relay.core.waiting import Waiting

RECIPIENTS_MOST = 100  # RCPTs a transaction: what every server must take (RFC 5321 §4.5.3.1.8)
Flow = deque[Waiting]


class Lane:
    """`messages` counts messages, `len` recipients. The flow of a Waiting is "app|campaign"."""

    __slots__ = ("_apps", "_size", "messages")

    def __init__(self) -> None:
        self._apps: OrderedDict[str, OrderedDict[str, Flow]] = OrderedDict()
        self._size = 0
        self.messages = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Waiting]:
        for campaigns in self._apps.values():
            for flow in campaigns.values():
                yield from flow

    def push(self, waiting: Waiting) -> None:
        """Puts one at the end of its flow."""
        app = waiting.flow.partition("|")[0]
        campaigns = self._apps.get(app)
        if campaigns is None:
            campaigns = self._apps[app] = OrderedDict()
        flow = campaigns.get(waiting.flow)
        if flow is None:
            flow = campaigns[waiting.flow] = deque()
        if not flow or flow[-1].message != waiting.message:
            self.messages += 1
        flow.append(waiting)
        self._size += 1

    def take(self) -> list[Waiting]:
        """The next message's recipients, at most RECIPIENTS_MOST; its app and campaign go to the end of their
        lines. The lane must not be empty."""
        app, campaigns = next(iter(self._apps.items()))
        name, flow = next(iter(campaigns.items()))
        taken = [flow.popleft()]
        while flow and flow[0].message == taken[0].message and len(taken) < RECIPIENTS_MOST:
            taken.append(flow.popleft())
        self._size -= len(taken)
        if not flow or flow[0].message != taken[0].message:
            self.messages -= 1
        _after_turn(campaigns, name, flow)
        _after_turn(self._apps, app, campaigns)
        return taken

    def remove(self, unwanted: Callable[[Waiting], bool]) -> list[Waiting]:
        """Takes out whatever the function names; the others keep their places."""
        gone = [waiting for waiting in self if unwanted(waiting)]
        if gone:
            kept = [waiting for waiting in self if not unwanted(waiting)]
            self._apps.clear()
            self._size = self.messages = 0
            for waiting in kept:
                self.push(waiting)
        return gone


def _after_turn(line: OrderedDict[str, Any], name: str, rest: object) -> None:
    if rest:
        line.move_to_end(name)
    else:
        del line[name]
