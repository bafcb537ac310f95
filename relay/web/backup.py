"""The control API's part in a backup: leases, while which no body leaves the spool (`queue.leases`)."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web


class BackupOperator(Protocol):
    """What whoever copies the queue asks of the relay that uses it."""

    async def begin_copy(self) -> tuple[str, float]:
        """A lease's name, and for how many seconds it lasts unless it is renewed."""
        ...

    async def renew_copy(self, lease: str) -> bool:
        """Whether the lease goes on; False when it had ended."""
        ...

    async def end_copy(self, lease: str) -> bool:
        """Gives the lease back; False when it had ended."""
        ...


class BackupApi:
    """The handlers, over one operator."""

    def __init__(self, operator: BackupOperator) -> None:
        self._operator = operator

    def add_routes(self, app: web.Application, prefix: str) -> None:
        """Puts the routes into the application."""
        app.router.add_post(f"{prefix}/copies", self.begin)
        app.router.add_post(f"{prefix}/copies/{{lease}}/renew", self.renew)
        app.router.add_post(f"{prefix}/copies/{{lease}}/end", self.end)

    async def begin(self, _request: web.Request) -> web.Response:
        lease, for_s = await self._operator.begin_copy()
        return web.json_response({"lease": lease, "for_s": for_s})

    async def renew(self, request: web.Request) -> web.Response:
        return _answer(going_on=await self._operator.renew_copy(request.match_info["lease"]))

    async def end(self, request: web.Request) -> web.Response:
        return _answer(going_on=await self._operator.end_copy(request.match_info["lease"]))


def _answer(*, going_on: bool) -> web.Response:
    if going_on:
        return web.json_response({})
    error = {"code": "no_such_lease", "message": "the copy was under way for too long without a sign, or the relay"
             " has been restarted: bodies it needs may be gone. Run it again"}  # fmt: skip
    return web.json_response({"error": error}, status=404)
