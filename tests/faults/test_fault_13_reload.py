"""Reloads under load, some of broken files: each message follows the whole of one policy, never parts of two, and a
broken file keeps the old one.

Policy A marks its mail with a header in one file and with a return path in another; so does B. Every message that
arrives must have the two marks of the same policy.
"""

import random

import pytest
import yaml

from relay.cli.control import Control
from tests.faults.form import rounds
from tests.faults.load import clients, numbers

pytestmark = pytest.mark.peers
RELOADS = rounds(20, 100)
BROKEN = {
    "not YAML": "streams: [\n",
    "unknown key": "streams:\n  transactional: {pool: main, colour: red}\n",
    "no such pool": "streams:\n  transactional: {pool: nowhere}\n",
    "empty": "",
}


def write(one, name, policy):
    """A whole file or none, as an editor saves it."""
    file = one.home / "policies" / f"{name}.yaml"
    made = file.with_suffix(".new")
    made.write_text(policy if isinstance(policy, str) else yaml.safe_dump(policy))
    made.rename(file)


def marked(one, mark):
    """Writes a policy whose two files carry the mark; a reload between the two writes sees one of each."""
    write(one, "routes", {"routes": [{"name": "all", "stream": "transactional", "headers": {"add": {"X-Mark": mark}}}]})
    return {"streams": {"transactional": {
        "pool": "main", "return_path": f"{mark}.shop.test", "retry": {"after": ["1s"], "then": "1s", "expire": "1m"},
    }}}  # fmt: skip


def marks(message):
    head = message.data.partition(b"\r\n\r\n")[0]
    header = next(line for line in head.split(b"\r\n") if line.startswith(b"X-Mark: ")).decode()
    return header.removeprefix("X-Mark: "), message.sender.partition("@")[2].removesuffix(".shop.test")


@pytest.mark.timeout(60 + RELOADS)
def test_reloads_are_atomic(relay, receive, note):
    server = receive(10)
    one = relay(started=False)
    whole = yaml.safe_load((one.home / "policies" / "all.yaml").read_text())
    write(one, "all", {"pools": whole["pools"], "providers": whole["providers"]})
    write(one, "streams", marked(one, "p0"))
    one.start()
    control, dice = Control(one.home / "data" / "control.sock"), random.Random()
    refused, good, seen = 0, ["p0"], {"p0"}
    with clients(one, pause_s=0.005) as load:
        for number in range(1, RELOADS + 1):
            begun = len(server.seen.messages)
            mark = f"p{number}"
            streams = marked(one, mark)
            broken = number % 3 == 0
            write(one, "streams", BROKEN[dice.choice(sorted(BROKEN))] if broken else streams)
            answer = control.post("reload", {})
            assert bool(answer["problems"]) == broken, answer
            refused += broken
            if not broken:
                good.append(mark)
            one.wait(lambda: len(server.seen.messages) > begun + 5, "mail after the reload")  # noqa: B023
    one.idle()
    found = [marks(message) for message in server.accepted]
    seen = {header for header, _ in found}
    got = numbers(server.accepted)
    lost = set(load.answered) - set(got)
    note("13 reloads under load", rounds=RELOADS, accepted=len(load.answered), lost=len(lost),
         twice=len(got) - len(set(got)),
         more=f"{refused} of broken files, all refused; mixed {sum(a != b for a, b in found)}")  # fmt: skip
    assert all(header == path for header, path in found)
    assert seen <= set(good)
    assert len(seen) > len(good) // 2
    assert lost == set()
    assert not load.refused
