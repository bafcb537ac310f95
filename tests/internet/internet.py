"""The model Internet as a test has it: processes that play providers, their names in the DNS, and what they saw.

    internet = Internet(place, [Provider("big", ("a.test", "b.test"), cap=Cap(5))])
    relay(internet=internet) … internet.wait(lambda facts: len(facts.receipts) == 9, "nine messages")
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tests.internet.behaviour import Provider, as_json
from tests.internet.facts import Facts, Receipt
from tests.peers.place import Place, Program, free_port, wait_for

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
FIRST = 20  # the last part of the first host's address


class Internet:
    """Listens until `stop`: every host on an address of its own in the place's network, on its common port;
    `server` is the name server, as in `dns.servers`."""

    def __init__(self, place: Place, providers: Sequence[Provider]) -> None:
        self.place, self.providers = place, list(providers)
        self.home = place.room("internet")
        hosts = [host for provider in providers for host in provider.host_names]
        self.addresses = {host: place.address(FIRST + nth) for nth, host in enumerate(hosts)}
        self.mx = {domain: provider.host_names for provider in providers for domain in provider.domains}
        self.server = f"{place.address(1)}:{free_port(place.address(1))}"
        self._facts = Facts()
        self._programs: dict[str, Program] = {}
        groups = dict.fromkeys(provider.group for provider in providers)
        try:
            for nth, group in enumerate(groups):
                self._programs[group] = self._start(group, names=nth == 0)
            for group, program in self._programs.items():
                program.wait_until(lambda program=program: "ready" in program.tail(), f"the providers of {group}")
        except BaseException:
            self.stop()
            raise

    def _start(self, group: str, *, names: bool) -> Program:
        address, _, port = self.server.rpartition(":")
        world = {
            "port": self.place.port, "facts": str(self._file(group)), "addresses": self.addresses,
            "providers": [as_json(one) for one in self.providers if one.group == group],
            "names": names and {"address": address, "port": int(port), "mx": self.mx, "addresses": self.addresses},
        }  # fmt: skip
        self._file(group).touch()
        plan = self.home / f"{group}.json"
        plan.write_text(json.dumps(world))
        return Program([sys.executable, "-m", "tests.internet.serve", str(plan)], self.home / f"{group}.log", cwd=ROOT)

    def _file(self, group: str) -> Path:
        return self.home / f"{group}.facts"

    def address(self, domain: str) -> str:
        """Where a domain's first MX host listens."""
        return self.addresses[self.mx[domain][0]]

    @property
    def facts(self) -> Facts:
        """Everything up to some hundredths of a second ago."""
        for group, program in self._programs.items():
            assert program.process.poll() is None, f"the providers of {group} have ended:\n{program.tail()}"
            self._facts.read(self._file(group))
        return self._facts

    def wait(self, question: Callable[[Facts], T], what: str, timeout_s: float = 30) -> T:
        """The first true answer about the facts."""
        return wait_for(lambda: question(self.facts), what, timeout_s)

    def wait_for_mail(self, word: str, count: int, timeout_s: float = 30) -> list[Receipt]:
        """What was taken for recipients that begin with the word, once there are so many."""

        def found(facts: Facts) -> list[Receipt]:
            receipts = facts.to(word)
            return receipts if len(receipts) >= count else []

        return self.wait(found, f"{count} messages to {word}", timeout_s)

    def stop(self) -> None:
        """Ends all of it."""
        for program in self._programs.values():
            program.stop()
