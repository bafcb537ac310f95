"""The control API: JSON over HTTP under /api/v1, asked by the command line on a Unix socket.

1. A request is checked: an unknown name or a wrong value is an error, never ignored.
2. The Operator is asked; this module holds no state.
3. The answer is one JSON object; a failure is {"error": {"code", "message"}} with a matching status.

A change to everything must be said: an empty filter changes nothing unless `"all": true` stands beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Final

from aiohttp import web

from relay.queue.store import Filter, StoreBroken, StoreBusy, StoreFull
from relay.web.backup import BackupApi
from relay.web.filters import BadFilter, nearest, parse_filter
from relay.web.importing import ImportApi
from relay.web.operator import Operator
from relay.web.shaping import ShapingApi

log = logging.getLogger(__name__)

PREFIX: Final = "/api/v1"
MAX_REQUEST_BYTES: Final = 65536  # a filter is a few hundred bytes; nothing larger is ever asked
DEFAULT_ROWS: Final = 100
MAX_ROWS: Final = 10_000  # about 4 MB of JSON; more is what the event log and the metrics are for
ACTIONS: Final = ("hold", "release", "retry", "cancel", "delivered")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlApi:
    """The handlers, over one Operator."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._changes: dict[str, Callable[[Filter], Awaitable[int]]] = {
            "hold": operator.hold,
            "release": operator.release,
            "retry": operator.retry,
            "cancel": operator.cancel,
            "delivered": operator.confirm,
        }

    def application(self) -> web.Application:
        """The aiohttp application with every route."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[errors_as_json])
        app.router.add_get(f"{PREFIX}/status", self.status)
        app.router.add_get(f"{PREFIX}/queue", self.find)
        app.router.add_get(f"{PREFIX}/check", self.check)
        app.router.add_get(f"{PREFIX}/queue/{{message}}", self.show)
        ImportApi(self._operator).add_routes(app, PREFIX)
        app.router.add_post(f"{PREFIX}/queue/{{action}}", self.change)
        app.router.add_get(f"{PREFIX}/explain", self.explain)
        app.router.add_get(f"{PREFIX}/streams", self.streams)
        app.router.add_get(f"{PREFIX}/limits", self.limits)
        app.router.add_post(f"{PREFIX}/limits/{{limit}}/cancel", self.cancel_limit)
        app.router.add_get(f"{PREFIX}/sandbox", self.sandbox_list)
        app.router.add_get(f"{PREFIX}/sandbox/{{caught}}", self.sandbox_show)
        app.router.add_post(f"{PREFIX}/reload", self.reload)
        ShapingApi(self._operator).add_routes(app, PREFIX)
        BackupApi(self._operator).add_routes(app, PREFIX)
        return app

    async def status(self, request: web.Request) -> web.Response:
        _query(request)
        return web.json_response(await self._operator.status())

    async def find(self, request: web.Request) -> web.Response:
        query: dict[str, object] = dict(_query(request, None))
        limit = _limit(str(query.pop("limit", DEFAULT_ROWS)))
        rows = await self._operator.find(parse_filter(query), limit + 1)
        return web.json_response({"rows": [asdict(row) for row in rows[:limit]], "more": len(rows) > limit})

    async def check(self, request: web.Request) -> web.Response:
        quick = _query(request, "quick").get("quick", "")
        return web.json_response(await self._operator.check(full=not quick))

    async def show(self, request: web.Request) -> web.Response:
        _query(request)
        message = request.match_info["message"]
        shown = await self._operator.show(message)
        if shown is None:
            return _error(
                404,
                "not_queued",
                f"no message {message} is in the queue: it has ended or never"
                f" was. Its history is in the event log: relay events export --message {message}",
            )
        return web.json_response(shown)

    async def change(self, request: web.Request) -> web.Response:
        _query(request)
        action = request.match_info["action"]
        if action not in self._changes:
            return _error(
                404,
                "no_such_action",
                f"the queue has no {action!r}{nearest(action, ACTIONS)}; there are: {', '.join(ACTIONS)}",
            )
        body = await _body(request)
        everything = body.pop("all", False)
        if everything is not True and not body:
            raise BadFilter('an empty filter would change the whole queue; say {"all": true} if so meant')
        return web.json_response({"changed": await self._changes[action](parse_filter(body))})

    async def explain(self, request: web.Request) -> web.Response:
        what = _query(request, "of").get("of", "")
        if not what:
            raise BadFilter("explain wants ?of=MESSAGE-ID or ?of=DOMAIN")
        explanation = await self._operator.explain(what)
        if explanation is None:
            return _error(
                404,
                "unknown",
                f"nothing is known of {what}: no queued message has that id and"
                " no mail waits for a domain of that name",
            )
        return web.json_response(asdict(explanation))

    async def streams(self, request: web.Request) -> web.Response:
        _query(request)
        return web.json_response({"streams": await self._operator.streams()})

    async def limits(self, request: web.Request) -> web.Response:
        _query(request)
        return web.json_response({"limits": await self._operator.limits()})

    async def cancel_limit(self, request: web.Request) -> web.Response:
        _query(request)
        limit = request.match_info["limit"]
        ended = await self._operator.cancel_limit(limit)
        if not ended:
            return _error(404, "no_such_limit", f"no limit {limit} is in force: see relay limits list")
        return web.json_response({"ended": ended})

    async def sandbox_list(self, request: web.Request) -> web.Response:
        _query(request)
        return web.json_response({"messages": await self._operator.sandbox_list()})

    async def sandbox_show(self, request: web.Request) -> web.Response:
        _query(request)
        caught = request.match_info["caught"]
        message = await self._operator.sandbox_show(caught)
        if message is None:
            return _error(404, "not_kept", f"the sandbox keeps no message {caught}: see relay sandbox list")
        return web.json_response(message)

    async def reload(self, request: web.Request) -> web.Response:
        _query(request)
        return web.json_response(await self._operator.reload())


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every failure into a status and an error object; the root of a request's task."""
    try:
        return await handler(request)
    except BadFilter as error:
        return _error(400, "bad_request", str(error))
    except web.HTTPRequestEntityTooLarge:
        return _error(413, "too_large", f"a request may have {MAX_REQUEST_BYTES} bytes")
    except web.HTTPException as error:
        return _error(error.status, "http", f"{request.method} {request.path}: {error.reason}")
    except StoreBusy:
        return _error(503, "busy", "the queue is busy; ask again")
    except (StoreFull, StoreBroken) as error:
        fault = type(error).__name__
        return _error(503, "queue", f"the queue cannot be changed now ({fault}); the relay's log says why")
    except Exception:  # the task's root: a fault of ours is logged here and told without its insides
        log.exception("control request %s %s failed", request.method, request.path)
        return _error(500, "internal", "the relay failed to answer; its log says why")


def _query(request: web.Request, *allowed: str | None) -> Mapping[str, str]:
    """The query; raises BadFilter for a name given twice or not `allowed` (None: the caller checks)."""
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise BadFilter(f"{name} is given twice")
        if None not in allowed and name not in allowed:
            known = ", ".join(str(word) for word in allowed) or "none"
            raise BadFilter(f"{request.path} takes no {name!r}; it takes: {known}")
    return request.query


async def _body(request: web.Request) -> dict[str, object]:
    try:
        body = await request.json()
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, an integer of thousands of digits
        raise BadFilter(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadFilter("the body must be one JSON object with the filter")
    return body


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_ROWS):
        raise BadFilter(f"limit wants a whole number from 1 to {MAX_ROWS}, not {text!r}")
    return int(text)


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
