"""What a message costs between the final dot and its record, part by part, without RSA, sockets and waiting.

    python tests/bench/parts.py                 # this tree
    python tests/bench/parts.py OTHER_TREE      # and another version of it, in turns

For bodies of 4 and 100 KiB: µs of CPU a message (the least of many rounds, as others use the machine too) and calls of
functions, those of the interpreter's own included. A signature is 256 bytes that cost nothing.
"""

from __future__ import annotations

import cProfile
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TREE = Path(os.environ.get("RELAY_TREE", Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(TREE))

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: E402

from relay.config.read import load_policies  # noqa: E402
from relay.core.content import Content, MemoryBody  # noqa: E402
from relay.core.envelope import Client, Envelope, Recipient, Submission  # noqa: E402
from relay.core.events import Event, accepted_event  # noqa: E402
from relay.core.headers import Headers, split_message  # noqa: E402
from relay.core.ids import message_id  # noqa: E402
from relay.core.message import Prepared  # noqa: E402
from relay.observe.attempts import Attempts  # noqa: E402
from relay.observe.bus import Bus  # noqa: E402
from relay.observe.eventlog import EventLog  # noqa: E402
from relay.observe.metrics import Metrics  # noqa: E402
from relay.observe.objectives import Objectives  # noqa: E402
from relay.policy.decide import Facts, decide  # noqa: E402
from relay.policy.recorded import record  # noqa: E402
from relay.prepare.dkim import Signer, sign  # noqa: E402
from relay.prepare.keys import Found, KeyRing  # noqa: E402
from relay.prepare.message import Preparer  # noqa: E402
from relay.queue.frames import Decoder, put_frame, put_of  # noqa: E402
from relay.queue.opening import open_writer  # noqa: E402
from relay.queue.spool import Spool  # noqa: E402
from relay.queue.store import End, Settlement  # noqa: E402
from relay.queue.underway import UnderWay  # noqa: E402
from relay.queue.writing import Group, write_group  # noqa: E402

ROUNDS = 9
NOW = 1_790_000_000.123456
GROUP = 10  # messages of one commit
HEADER = b"".join(line + b"\r\n" for line in (
    b"From: Example Shop <news@example.com>", b"To: b@example.net", b"Subject: What is new in November",
    b"Date: Sun, 22 Nov 2026 09:30:00 +0000", b"Message-ID: <20261122093000.1@app.example.com>",
    b"Reply-To: service@example.com", b"MIME-Version: 1.0", b"Content-Type: text/html; charset=utf-8",
    b"Content-Transfer-Encoding: quoted-printable", b"List-Unsubscribe: <https://example.com/u/1>",
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click", b"Feedback-ID: 1:november:shop",
))  # fmt: skip
LINE = b"<p>Twelve new things are in the shop today =E2=80=93 have a look.</p>\r\n"


class FreeKey:
    """Takes the place of an RSA key."""

    def sign(self, *_: object) -> bytes:
        """What a signature of 2048 bits looks like."""
        return bytes(256)


RSAPrivateKey.register(FreeKey)


class Parts:
    """Everything a message goes through, without the rest of a relay; each part is called with a number."""

    def __init__(self, folder: Path, size: int) -> None:
        self.policy, problems = load_policies(TREE / "policies")
        assert not problems, problems
        body = (LINE * (size // len(LINE) + 1))[: size - 2] + b"\r\n"
        self.data = HEADER + b"\r\n" + body
        self.keys = KeyRing(folder)
        for stream in self.policy.streams.values():
            for one in stream.signings:
                names = ("example.com" if one.domain == "from" else one.domain, one.selector, one.key)
                self.keys._found[names] = Found(folder, Signer(names[0], one.selector, FreeKey()))
        self.preparer, self.client = Preparer("relay.example.com"), Client("192.0.2.1", 1, "app.example.com", "apps")
        self.bus, metrics = Bus(), Metrics()
        self.log = EventLog(folder / "events", node="relay.example.com", keep_days=1)
        self.log._timer = object()  # nothing is written
        streams = dict.fromkeys(self.policy.streams, (60.0, 0.999))
        for listener in (metrics, Objectives(streams), self.log, Attempts()):
            self.bus.subscribe(listener.on_event)
        self.under_way = UnderWay(None)
        self.queue, self.spool = open_writer(folder / "queue.db"), Spool(folder / "spool")
        self.queue.execute("PRAGMA synchronous=OFF")  # waiting is no CPU
        self.made: list[Prepared] = []

    def prepare(self, number: int) -> None:
        """Parse, decide, prepare and sign."""
        header, body = split_message(self.data)
        now = NOW + number
        submission = Submission(
            message_id(now, os.urandom(6)), now, self.client,
            Envelope("news@example.com", (Recipient("b@example.net"),)), Content(header, MemoryBody(body)),
        )  # fmt: skip
        headers = Headers.parse(header)
        facts = Facts("apps", "192.0.2.1", "", "news@example.com", ("b@example.net",), headers, len(self.data), 9)
        recorded = record(facts, self.policy.asked)
        decision = decide(self.policy, facts)
        content = self.preparer.prepare(submission, headers)
        stream = decision.stream
        assert stream is not None, decision
        assert isinstance(content, Content), content
        signers = self.keys.signers(stream.signings, "example.com")
        assert signers, "the shipped policies sign"
        signed = Content(sign(content, headers, signers, now) + content.header, content.body)
        self.made.append(Prepared(
            submission.id, now, now, submission.envelope, "", stream.name, stream.pool, decision.route,
            client="192.0.2.1", listener="apps", facts=recorded, content=signed,
        ))  # fmt: skip

    def tell(self, number: int) -> None:
        """Both events of a message that is delivered, to all who listen."""
        message = self.made[number % GROUP]
        self.bus.publish(accepted_event(message, NOW))
        detail = {
            "provider": "everyone", "phase": "dot", "attempt": 1, "source": "a", "mx": "mx.example.net",
            "address": "192.0.2.9", "tls": "TLSv1.3", "code": 250, "enhanced": "2.0.0", "text": "Ok: queued as 1",
            "seconds": 0.012345, "delay_s": 0.023456,
        }  # fmt: skip
        self.bus.publish(Event(
            "delivered", NOW, message.id, "b@example.net", message.stream, message.route, "news@example.com",
            message.tags, detail,
        ))  # fmt: skip
        if not number % GROUP:
            self.log._lines.clear()

    def journal(self, number: int) -> None:
        """What is under way, from the dot to the record."""
        message, places = self.made[number % GROUP].id, [(0, 0)]
        slots = self.under_way.sent(message, places)
        self.under_way.clear(self.under_way.taken(slots, message, places, all_of_it=True))

    def hand_over(self, number: int) -> None:
        """From a front to the engine."""
        [frame] = Decoder().feed(put_frame(number, self.made[number % GROUP]))
        put_of(frame, self.spool.claim)

    def commit(self, number: int) -> None:
        """One commit with GROUP messages, and one that ends them, for every tenth message."""
        if number % GROUP:
            return
        some = self.made[-GROUP:]
        write_group(self.queue, spool=self.spool, group=Group(some))
        write_group(
            self.queue, spool=self.spool, group=Group([], [Settlement(one.id, 0, 1, End.DELIVERED) for one in some])
        )

    def measure(self) -> dict[str, tuple[float, int]]:
        """µs and calls a message of each part."""
        found = {}
        for part in (self.prepare, self.tell, self.journal, self.hand_over, self.commit):
            cost = min(self._run(part) for _ in range(ROUNDS))
            profile = cProfile.Profile()
            profile.enable()
            for number in range(GROUP):
                part(number)
            profile.disable()
            calls = sum(entry.callcount for entry in profile.getstats())
            found[part.__name__] = (cost * 1e6, (calls - 1) // GROUP - 1)
        return found

    def _run(self, part, messages: int = 20 * GROUP) -> float:
        del self.made[:-GROUP]
        began = time.process_time()
        for number in range(messages):
            part(number)
        return (time.process_time() - began) / messages


def child() -> None:
    """Measures this tree and prints it for the parent."""
    for size in (4096, 102_400):
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps([size, Parts(Path(folder), size).measure()]))


def main() -> None:
    """Runs each tree in turns, thrice, and prints the least of each."""
    trees = [TREE, *map(Path, sys.argv[1:])]
    best: dict[tuple[int, str], dict[Path, tuple[float, int]]] = {}
    for tree in trees * 3:
        done = subprocess.run(
            [sys.executable, __file__, "--child"], env={**os.environ, "RELAY_TREE": str(tree)}, check=True,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        for line in done.stdout.splitlines():
            size, parts = json.loads(line)
            for part, (cost, calls) in parts.items():
                had = best.setdefault((size, part), {}).get(tree, (cost, calls))
                best[size, part][tree] = (min(cost, had[0]), calls)
    for (size, part), figures in best.items():
        columns = [f"{cost:7.1f} µs {calls:4} calls" for cost, calls in figures.values()]
        print(f"{size // 1024:>4} KiB {part:10}", *columns)


if __name__ == "__main__":
    child() if "--child" in sys.argv else main()
