"""The control API's part in taking mail over from another queue: a line of JSON, then the message.

The body of the request is one JSON object (the envelope), a line feed, and the content dot-stuffed with its final
dot, so that it can be of any size and is read like a client's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from aiohttp import web

from relay.web.filters import BadFilter

HEAD_MOST = 32 << 20  # of the envelope: 100,000 recipients with everything


class ImportOperator(Protocol):
    """What a command that reads another server's queue asks of the relay."""

    async def import_mail(
        self, head: Mapping[str, object], content: AsyncIterator[bytes]
    ) -> Mapping[str, object]:
        """What came of one message (the fields of inbound.importing.Imported). Raises BadFilter for a head that
        cannot be understood."""
        ...


class ImportApi:
    """The handler, over one operator."""

    def __init__(self, operator: ImportOperator) -> None:
        self._operator = operator

    def add_routes(self, app: web.Application, prefix: str) -> None:
        """Puts the route into the application."""
        app.router.add_post(f"{prefix}/import", self.take)

    async def take(self, request: web.Request) -> web.Response:
        head, rest = await _head(request)

        async def content() -> AsyncIterator[bytes]:
            if rest:
                yield rest
            async for chunk in request.content.iter_any():
                yield chunk

        return web.json_response(await self._operator.import_mail(head, content()))


async def _head(request: web.Request) -> tuple[Mapping[str, object], bytes]:
    """The first line, and what came with it of the rest."""
    found = bytearray()
    async for chunk in request.content.iter_any():
        found += chunk
        if b"\n" in chunk:
            break
        if len(found) > HEAD_MOST:
            raise BadFilter(f"the envelope may have {HEAD_MOST} bytes")
    line, _, rest = bytes(found).partition(b"\n")
    try:
        head = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadFilter(f"the first line is no JSON: {error}") from None
    if not isinstance(head, dict):
        raise BadFilter("the first line must be one JSON object with the envelope")
    return head, rest
