"""Every .smtp file again, with a relay of several processes: two fronts take the mail, an engine keeps and delivers it.

Each file has a listener of its own, with the settings that it asks for, in one relay that is started once; all are
played side by side. The replies must be the same. What arrived is looked for where it left: in the event log and at
the server it was delivered to.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.config.read import load_config
from tests.dialogues.script import converse, read, settings, unescape
from tests.dialogues.stage import LOOPBACK, Peer, accounts, certificate
from tests.peers.place import Place, free_port
from tests.peers.receiver import Message, Receiver
from tests.peers.relay import Relay

FILES = sorted(Path(__file__).parent.rglob("*.smtp"))
FRONTS = 2
RENAMED = {"max_message_bytes": "max_message_size", "idle_timeout_s": "idle_timeout", "data_timeout_s": "data_timeout"}
INSIDE = {
    "fault-of-ours": "it has `accept` raise, and no configuration makes a fault of ours",
    "full-queue": "it sets the reply of `accept`, which the state of the disk decides here (tests/faults)",
}
NOT_ALLOWED = {
    "header-too-big": "max_header_bytes is no setting of a listener",
    "javamail": "a listener takes 100 recipients at least (RFC 5321 section 4.5.3.1.8)",
    "talkative": "max_idle_commands is no setting of a listener",
    "too-big": "a listener takes messages of 64 KiB at least (RFC 5321 section 4.5.3.1.7)",
}
UNSEEN = {"profile": "only the session knows it"}
ALTERED = {  # lines that do not hold of what leaves
    r"old-php-crm: = contains: Subject: Gr\xfc\xdfe\r\nX-Long:": "raw letters in a header are encoded before it leaves",
}
TRACE = re.compile(
    rb"Received: from (?P<helo>\S+) \(\[127\.0\.0\.1\]\)(?:\s+\(using (?P<tls>[^\s)]+)[^)]*\))?"
    rb"\s+by relay\.test with (?P<protocol>\S+) id "
)
PLAYED = [path for path in FILES if path.stem not in INSIDE | NOT_ALLOWED]


class NoNames:
    """No name server is asked: mail leaves through a smarthost."""

    server = "127.0.0.1:9"


def listener(path: Path) -> dict[str, object]:
    """The listener that a file asks for, as configuration."""
    given, _ = settings(read(path))
    made: dict[str, object] = {"auth": "none", "bind": f"127.0.0.1:{free_port()}", "networks": list(LOOPBACK)}
    if given.get("accepts") == "bounces":
        del made["auth"], made["networks"]
    for key, value in given.items():
        if key.endswith("_s"):
            made[RENAMED[key]] = f"{value}s"
        elif key in {"networks", "senders"}:
            made[key] = list(map(str, value))  # type: ignore[call-overload]
        else:
            made[RENAMED.get(key, key)] = value
    return made


def configured(paths: list[Path], folder: Path) -> dict[str, object]:
    """All that the listeners of these files need."""
    chain, key = certificate()
    entries = {}
    for name, one in accounts().items():
        lists = {"senders": list(one.senders), "networks": list(map(str, one.networks))}
        entries[name] = {"hash": one.hash} | {key: value for key, value in lists.items() if value}
    (folder / "credentials.yaml").write_text(yaml.safe_dump(entries))
    (folder / "credentials.yaml").chmod(0o600)
    return {
        "hostname": "relay.test", "postmaster": "postmaster@example.com", "workers": FRONTS,
        "listeners": {path.stem: listener(path) for path in paths},
        "credentials": str(folder / "credentials.yaml"), "tls": {"certificate": chain, "key": key},
    }  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver("127.0.0.1", free_port())
    yield server
    server.stop()


@pytest.fixture
def one(receiver: Receiver, tmp_path: Path) -> Iterator[Relay]:
    place = Place()
    leaving = {"mode": "smarthost", "host": f"127.0.0.1:{receiver.port}", "tls": "never"}
    made = Relay(place, NoNames(), {}, delivery=leaving, config=configured(PLAYED, tmp_path))
    yield made.start()
    if made.program is not None:
        made.program.stop()
    place.close()


async def play(path: Path, where: str) -> tuple[str, list[str]]:
    """What went wrong, and what must have arrived."""
    host, _, port = where.rpartition(":")
    wanted: list[str] = []

    async def later(text: str) -> None:
        wanted.append(text)

    own = f"listener {path.stem}"
    steps = [(number, kind, text.replace("listener apps", own)) for number, kind, text in read(path)]
    peer = Peer(*await asyncio.open_connection(host, int(port)))
    try:
        await converse(path.name, steps, peer, later)
    except AssertionError as trouble:
        return str(trouble), wanted
    return "", wanted


async def play_all(listeners: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
    found = await asyncio.gather(*(play(path, listeners[path.stem]["bind"]) for path in PLAYED))
    return dict(zip((path.stem for path in PLAYED), found, strict=True))


def test_every_dialogue_goes_the_same_way_through_fronts(one: Relay, receiver: Receiver) -> None:
    listeners = yaml.safe_load(one.config.read_text())["listeners"]
    played = asyncio.run(play_all(listeners))
    troubles = [trouble for trouble, _ in played.values() if trouble]
    one.wait(lambda: one.total("relay_connections", 'direction="in"') == 0, "nobody is connected")
    one.idle()
    one.stop()  # now nothing comes any more
    events = one.events("accepted", "refused")
    for name, (_, wanted) in played.items():
        mine = [row for row in events if row.get("listener") == name]
        for text in wanted:
            why, place = wrong(text, mine, receiver.accepted), f"{name}: = {text}"
            troubles += [f"{place}: {why}"] if bool(why) != (place in ALTERED) else []
    assert not troubles, "\n".join(troubles)
    assert len(receiver.accepted) == sum(row["event"] == "accepted" for row in events)


def wrong(text: str, events: list[dict[str, Any]], delivered: list[Message]) -> str:
    """What is not as the line says; "" when it is."""
    key, _, value = text.partition(":")
    value, mail = value.strip(), [row for row in events if row["event"] == "accepted"]
    if key in UNSEEN:
        return ""
    if key == "messages":
        return "" if len(mail) == int(value) else f"{len(mail)} were accepted"
    if key == "refused":
        reasons = [row["reason"] for row in events if row["event"] == "refused"]
        return "" if reasons == value.split() else f"refused were {reasons}"
    (message,) = [one for one in delivered if f" id {mail[-1]['message']}".encode() in one.data]
    found = found_in(key, mail[-1], message)
    if key in {"contains", "lacks"}:
        return "" if (unescape(value) in found) == (key == "contains") else f"it is {found!r}"
    return "" if found == value else f"it is {found!r}"


def found_in(key: str, accepted: dict[str, Any], message: Message) -> Any:
    """What a message has under the name a file uses for it."""
    name, _, address = key.partition(" ")
    trace = TRACE.search(message.data)
    assert trace is not None, message.data
    if name in {"notify", "orcpt"}:
        line = next(line for line in message.rcpts if f"<{address}>" in line)
        found = parameter(line, name)
        return ",".join(sorted(found.split(","))) if name == "notify" else found
    if name in {"ret", "envid", "body"}:
        return parameter(message.mail, name)
    match name:
        case "contains" | "lacks":
            return message.data
        case "sender" | "credential":
            return accepted.get(name, "")
        case "recipients":
            return " ".join(accepted["recipients"])
        case "utf8":
            return "yes" if trace["protocol"].startswith(b"UTF8") else "no"
        case "helo" | "tls" | "protocol":
            return (trace[name] or b"").decode()
    raise AssertionError(f"unknown assertion {key}")


def parameter(line: str, name: str) -> str:
    """The value of an ESMTP parameter, "" where it is not given."""
    found = re.search(rf" {name}=(\S+)", line, re.IGNORECASE)
    return found[1] if found else ""


@pytest.mark.parametrize("path", [path for path in FILES if path.stem in NOT_ALLOWED], ids=lambda path: path.stem)
def test_what_is_left_out_is_no_configuration(path: Path, tmp_path: Path) -> None:
    """The day it is one, the dialogue can be played."""
    file = tmp_path / "relay.yaml"
    given = {**configured([path], tmp_path), "data": "data", "policies": "policies"}
    file.write_text(yaml.safe_dump(given))
    _, problems = load_config(file)
    assert any("max_" in str(problem) for problem in problems), problems


def test_what_is_left_out_is_there() -> None:
    assert {path.stem for path in FILES} >= INSIDE.keys() | NOT_ALLOWED.keys()
    for path in FILES:
        _, accept = settings(read(path))
        assert bool(accept) == (path.stem in INSIDE), path.stem
