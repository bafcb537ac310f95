"""HTTP: reading changes nothing, bodies are bounded and checked, nothing of a stranger's text becomes markup.

Unsubscribe pages and webhooks do not exist yet; docs/security.md says so.
"""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relay.queue.store import Filter
from relay.web.api import MAX_REQUEST_BYTES
from relay.web.control import serve_control
from relay.web.health import serve_health


class Recorder:
    """An operator that writes down what it is asked to change."""

    def __init__(self) -> None:
        self.changed: list[object] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def asked(*args: object) -> object:
            if name in {"find", "streams", "limits", "sandbox_list"}:
                return []
            if name in {"status"}:
                return {}
            if name in {"show", "explain", "sandbox_show"}:
                return None
            self.changed.append((name, *args))
            return 0

        return asked


def ask(work: Callable[[aiohttp.ClientSession, Recorder], Awaitable[None]], folder: Path) -> Recorder:
    desk = Recorder()

    async def run() -> None:
        server = await serve_control(desk, folder / "control")  # type: ignore[arg-type]
        try:
            assert stat.S_IMODE((folder / "control").stat().st_mode) == 0o660
            connector = aiohttp.UnixConnector(str(folder / "control"))
            async with aiohttp.ClientSession(connector=connector, base_url="http://relay") as session:
                await work(session, desk)
        finally:
            await server.close()

    asyncio.run(run())
    return desk


PATHS = ["queue/hold", "queue/release", "queue/retry", "queue/cancel", "reload", "limits/1/cancel"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_only_post_changes_anything(method: str, tmp_path: Path) -> None:
    async def work(session: aiohttp.ClientSession, desk: Recorder) -> None:
        for path in PATHS:
            async with session.request(method, f"/api/v1/{path}?all=true") as answer:
                assert answer.status in {400, 404, 405}, (path, answer.status)

    assert ask(work, tmp_path).changed == []


BODIES = [
    b"", b"{", b"[]", b"null", b"1e999", b'"x"', b"{}", b'{"all": false}', b'{"all": 1}', b'{"all": "true"}',
    b'{"stream": ""}', b'{"stream": null}', b'{"stream": ["a"]}', b'{"strem": "a"}', b'{"stream": "a\\u0000"}',
    b'{"older_than_s": 1' + b"0" * 400 + b"}", b'{"older_than_s": 1' + b"0" * 5000 + b"}", b'{"older_than_s": "nan"}',
    b'{"older_than_s": NaN}', b'{"older_than_s": -1}', b'{"older_than_s": true}', b"[" * 60_000, b"\xff\xfe",
    b'{"message": "\\ud800"}', b'{"tag": "x"}', b'{"state": "gone"}', b'{"all": true, "strem": "x"}',
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_body_that_is_wrong_changes_nothing_and_is_told_so(body: bytes, tmp_path: Path) -> None:
    async def work(session: aiohttp.ClientSession, desk: Recorder) -> None:
        async with session.post("/api/v1/queue/cancel", data=body) as answer:
            assert answer.status == 400, await answer.text()
            assert (await answer.json())["error"]["message"]

    assert ask(work, tmp_path).changed == []


def test_a_body_above_the_limit_is_not_read(tmp_path: Path) -> None:
    async def work(session: aiohttp.ClientSession, desk: Recorder) -> None:
        body = json.dumps({"stream": "x" * MAX_REQUEST_BYTES}).encode()
        async with session.post("/api/v1/queue/cancel", data=body) as answer:
            assert answer.status == 413

    assert ask(work, tmp_path).changed == []


def test_a_right_body_does_change(tmp_path: Path) -> None:
    async def work(session: aiohttp.ClientSession, desk: Recorder) -> None:
        async with session.post("/api/v1/queue/hold", json={"stream": "marketing"}) as answer:
            assert answer.status == 200

    assert ask(work, tmp_path).changed == [("hold", Filter(stream="marketing"))]


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "a\r\nX-Evil: 1"])
def test_what_a_stranger_wrote_comes_back_as_json_and_nothing_else(text: str, tmp_path: Path) -> None:
    async def work(session: aiohttp.ClientSession, desk: Recorder) -> None:
        for path in ("queue", "explain"):
            async with session.get(f"/api/v1/{path}", params={"of": text}) as answer:
                assert answer.content_type == "application/json"
                assert "X-Evil" not in answer.headers

    ask(work, tmp_path)


def test_the_health_port_changes_nothing_and_shows_no_mail() -> None:
    async def run() -> None:
        server = await serve_health("127.0.0.1:0", lambda: "", lambda: b"relay_up 1\n")
        try:
            async with aiohttp.ClientSession(base_url=f"http://127.0.0.1:{server.address[1]}") as session:
                for path, status in (("/api/v1/queue", 404), ("/healthz", 405), ("/metrics", 405)):
                    async with session.post(path, data=b"x" * 100_000) as answer:
                        assert answer.status == status
                async with session.get("/healthz") as answer:
                    assert answer.content_type == "text/plain"
        finally:
            await server.close()

    asyncio.run(run())
