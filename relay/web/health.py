"""Health and metrics over plain HTTP, for load balancers and Prometheus. Nothing here changes anything.

/healthz  200 "ok" while the process answers
/readyz   200 "ready", or 503 and the reason why no mail is accepted now
/metrics  Prometheus' text format
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

log = logging.getLogger(__name__)

SHUTDOWN_S: Final = 2.0
MAX_REQUEST_BYTES: Final = 1024  # these requests have no body
Render = Callable[[], bytes | Awaitable[bytes]]


class HealthServer:
    """A served address; `address` is (host, port) as bound."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner
        self.address: tuple[str, int] = (str(runner.addresses[0][0]), int(runner.addresses[0][1]))

    async def close(self) -> None:
        """Stops serving."""
        await self._runner.cleanup()


async def serve_health(bind: str, ready: Callable[[], str], render_metrics: Render) -> HealthServer:
    """Serves on `bind` ("127.0.0.1:9125", "[::1]:9125"; port 0 takes any). `ready` returns "" or the
    reason why not. Raises OSError when the address cannot be had, ValueError when it is none."""
    host, port = split_bind(bind)
    runner = web.AppRunner(application(ready, render_metrics), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return HealthServer(runner)


def application(ready: Callable[[], str], render_metrics: Render) -> web.Application:
    """The aiohttp application."""

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        reason = ready()
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ready'}\n")

    async def metrics(request: web.Request) -> web.Response:
        rendered = render_metrics()
        body = await rendered if inspect.isawaitable(rendered) else rendered
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(client_max_size=MAX_REQUEST_BYTES)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


def split_bind(bind: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT" or "[IPv6]:PORT"; raises ValueError."""
    host, colon, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"{bind!r} is no address to listen on: write 127.0.0.1:9125 or [::1]:9125")
    return host, int(port)
