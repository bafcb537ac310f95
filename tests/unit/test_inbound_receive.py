"""A message becomes a Content: in memory, in the spool, or refused with the reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from relay.core.content import Content
from relay.inbound.receive import Receiver
from relay.inbound.reception import MemoryBudget
from relay.inbound.refusals import Refused
from relay.inbound.settings import ListenerSettings
from relay.queue.spool import FileBody, Spool, SpoolWriter

SETTINGS = ListenerSettings("apps", "relay.test", spill_bytes=102_400)


def receive(
    data: bytes, *, settings: ListenerSettings = SETTINGS, spool: Spool | None = None,
    memory: int = 10**9, step: int = 4096,
) -> Content:  # fmt: skip
    budget = MemoryBudget(memory)
    receiver = Receiver(settings, budget, spool)
    data += b".\r\n"
    try:
        for start in range(0, len(data), step):
            rest = receiver.feed(data[start : start + step])
        assert rest == b""
        return receiver.finish()
    except Refused:
        receiver.discard()
        raise
    finally:
        receiver.release()
        assert budget.used == 0


def refusal(data: bytes, **more: object) -> str:
    with pytest.raises(Refused) as caught:
        receive(data, **more)  # type: ignore[arg-type]
    return caught.value.reason


def test_a_small_message_stays_in_memory(tmp_path: Path) -> None:
    content = receive(b"Subject: x\r\n\r\nbody\r\n", spool=Spool(tmp_path))
    assert content.header == b"Subject: x\r\n"
    assert b"".join(content.body.chunks()) == b"body\r\n"
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("step", [1021, 4096, 200_000])
@pytest.mark.parametrize("header", [b"Subject: x\r\n", b"", b"X: y\r\n z\r\n" * 15_000])
def test_a_large_body_goes_to_the_spool(tmp_path: Path, step: int, header: bytes) -> None:
    body = b"0123456789\r\n" * 20_000
    content = receive(header + b"\r\n" + body, spool=Spool(tmp_path), step=step)
    assert content.header == header
    assert isinstance(content.body, FileBody)
    assert content.body.size == len(body)
    assert b"".join(content.body.chunks()) == body


def test_a_body_without_any_header(tmp_path: Path) -> None:
    body = b"no header here\r\n" * 10_000
    content = receive(body, spool=Spool(tmp_path))
    assert content.header == b""
    assert b"".join(content.body.chunks()) == body


def test_an_endless_first_line_is_body(tmp_path: Path) -> None:
    content = receive(b"x" * 400_000 + b"\r\n", spool=Spool(tmp_path))
    assert content.header == b""
    assert content.long_lines
    assert content.body.size == 400_002


@pytest.mark.parametrize("header", [b"X: " + b"y" * 400_000 + b"\r\n", b"X: y\r\n" * 70_000])
@pytest.mark.parametrize("spooled", [True, False])
def test_an_endless_header_is_refused(tmp_path: Path, header: bytes, spooled: bool) -> None:
    assert refusal(header + b"\r\nbody\r\n", spool=Spool(tmp_path) if spooled else None) == "header-too-big"
    assert not [entry for entry in tmp_path.rglob("*") if entry.is_file()]


def test_what_is_refused_leaves_no_file(tmp_path: Path) -> None:
    big = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 20_000
    assert refusal(big + b"bare\nline\r\n", spool=Spool(tmp_path)) == "bare-line-end"
    assert refusal(big + b"nul\0\r\n", spool=Spool(tmp_path)) == "bare-line-end"
    small = dataclasses.replace(SETTINGS, max_message_bytes=150_000)
    assert refusal(big, spool=Spool(tmp_path), settings=small) == "too-big"
    assert not [entry for entry in tmp_path.rglob("*") if entry.is_file()]


def test_memory_is_shared_and_the_spool_relieves_it(tmp_path: Path) -> None:
    big = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 20_000
    assert refusal(big, memory=50_000, spool=Spool(tmp_path)) == "out-of-memory"
    assert receive(big, memory=130_000, spool=Spool(tmp_path)).body.size == 240_000
    assert refusal(big, memory=130_000) == "out-of-memory"


def test_what_is_kept_for_others_is_not_taken() -> None:
    budget = MemoryBudget(1000)
    assert budget.take(500, 0.5)
    assert not budget.take(1, 0.5)
    assert budget.take(500)
    assert not budget.take(1)


def test_where_memory_is_short_a_body_goes_to_the_spool_earlier(tmp_path: Path) -> None:
    body = b"0123456789\r\n" * 7_000
    roomy = receive(b"Subject: x\r\n\r\n" + body, memory=200_000, spool=Spool(tmp_path))
    tight = receive(b"Subject: x\r\n\r\n" + body, memory=90_000, spool=Spool(tmp_path))
    assert not isinstance(roomy.body, FileBody)
    assert isinstance(tight.body, FileBody)
    assert b"".join(tight.body.chunks()) == b"".join(roomy.body.chunks()) == body


def test_a_full_disk_is_temporary(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "tmp").rmdir()
    assert refusal(b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 20_000, spool=spool) == "no-space"


def test_a_disk_that_is_full_only_at_the_close_is_temporary_too(tmp_path: Path) -> None:
    class Full(SpoolWriter):
        def finish(self) -> FileBody:
            raise OSError(28, "No space left on device")

    class FullSpool(Spool):
        def writer(self) -> SpoolWriter:
            return Full(self.incoming)

    body = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 20_000
    assert refusal(body, spool=FullSpool(tmp_path)) == "no-space"
    assert not list((tmp_path / "tmp").iterdir())


def test_loops_are_counted_in_the_header_only(tmp_path: Path) -> None:
    hop = b"Received: from a by b;\r\n\tSat, 21 Nov 2026 10:00:00 +0000\r\n"
    body = b"\r\n" + b"Received: not a header\r\n" * 10_000
    assert refusal(hop * 100 + b"\r\n") == "loop"
    assert refusal(b"RECEIVED :x\r\n" * 100 + body, spool=Spool(tmp_path)) == "loop"
    assert receive(hop * 99 + body, spool=Spool(tmp_path)).body.size == len(body) - 2


def test_findings_reach_the_content() -> None:
    content = receive("Subject: ü\r\n\r\n".encode() + b"x" * 999 + b"\r\n")
    assert content.eight_bit
    assert content.long_lines


def test_a_legacy_listener_repairs() -> None:
    legacy = dataclasses.replace(SETTINGS, profile="legacy")
    content = receive(b"Subject: x\n\nbody\r\n", settings=legacy)
    assert content.header == b"Subject: x\r\n"
    assert b"".join(content.body.chunks()) == b"body\r\n"
