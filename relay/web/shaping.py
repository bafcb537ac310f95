"""The control API's answers about what keeps mail back: brakes, pauses of streams, sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypedDict

from aiohttp import web

from relay.web.filters import BadFilter


class BrakeState(TypedDict):
    """One brake in force. `rule` is "operator" for a pause by hand, `key` "" when it brakes the whole stream,
    `until` Unix s or None for as long as nobody releases it, `where` "file:line" of the rule or ""."""

    id: str
    stream: str
    rule: str
    by: str
    key: str
    do: str
    since: float
    until: float | None
    seen: str
    where: str


class SourceState(TypedDict):
    """One source of a pool. `day` and `allowance` (messages an hour) are those of its warm-up, 0 and None when
    it is warm; `sent` what left in the last hour by provider ("" all of them) while it warms up;
    `paused_until` Unix s or None; `connections` are open now."""

    pool: str
    name: str
    address: str
    address6: str
    helo: str
    weight: int
    day: int
    allowance: int | None
    sent: Mapping[str, int]
    paused_until: float | None
    paused_why: str
    connections: int
    where: str


class ShapingOperator(Protocol):
    """What operators may ask of brakes and sources."""

    async def brakes(self) -> list[BrakeState]:
        """Every brake in force, the oldest first."""
        ...

    async def release_brake(self, which: str) -> int | None:
        """Ends a brake; returns how many held recipients go on, None when there is no such brake."""
        ...

    async def pause_stream(self, name: str, for_s: float) -> BrakeState | None:
        """Stops a stream's deliveries for some seconds, 0: until resumed; None for a stream there is not."""
        ...

    async def resume_stream(self, name: str) -> int | None:
        """Releases all that brakes the whole stream; returns how many brakes, None for an unknown stream."""
        ...

    async def sources(self) -> list[SourceState]:
        """Every source of every pool."""
        ...


class ShapingApi:
    """The handlers, over one operator."""

    def __init__(self, operator: ShapingOperator) -> None:
        self._operator = operator

    def add_routes(self, app: web.Application, prefix: str) -> None:
        """Puts the routes into the application."""
        app.router.add_get(f"{prefix}/brakes", self.brakes)
        app.router.add_post(f"{prefix}/brakes/{{brake}}/release", self.release)
        app.router.add_post(f"{prefix}/streams/{{stream}}/pause", self.pause)
        app.router.add_post(f"{prefix}/streams/{{stream}}/resume", self.resume)
        app.router.add_get(f"{prefix}/sources", self.sources)

    async def brakes(self, request: web.Request) -> web.Response:
        return web.json_response({"brakes": await self._operator.brakes()})

    async def release(self, request: web.Request) -> web.Response:
        which = request.match_info["brake"]
        released = await self._operator.release_brake(which)
        if released is None:
            return _missing("no_such_brake", f"no brake {which} is in force: see relay brakes list")
        return web.json_response({"released": released})

    async def pause(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        for_s = body.get("for_s", 0.0) if isinstance(body, dict) else None
        if isinstance(for_s, bool) or not isinstance(for_s, int | float) or not 0 <= for_s < 1e9:
            raise BadFilter("pause takes {\"for_s\": SECONDS}, a number, 0 or left out for: until resumed")
        brake = await self._operator.pause_stream(request.match_info["stream"], float(for_s))
        return _no_stream(request) if brake is None else web.json_response(brake)

    async def resume(self, request: web.Request) -> web.Response:
        count = await self._operator.resume_stream(request.match_info["stream"])
        return _no_stream(request) if count is None else web.json_response({"released": count})

    async def sources(self, request: web.Request) -> web.Response:
        return web.json_response({"sources": await self._operator.sources()})


def _no_stream(request: web.Request) -> web.Response:
    name = request.match_info["stream"]
    return _missing("no_such_stream", f"there is no stream {name}: see relay stream list")


def _missing(code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=404)
