"""Asking a running relay: HTTP over its Unix socket, with nothing but the standard library."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from relay.cli.failure import Declined, Failed

ANSWER_S = 60.0  # a change to a million queued recipients takes seconds, not minutes
PREFIX = "/api/v1"


class Control:
    """The control socket of one relay."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, what: str, query: Mapping[str, str] | None = None, within_s: float = ANSWER_S) -> dict[str, Any]:
        """The answer to a question; raises Failed with the relay's own words."""
        target = f"{PREFIX}/{what}" + (f"?{urlencode(query)}" if query else "")
        return self._ask("GET", target, None, within_s)

    def post(self, what: str, body: Mapping[str, object]) -> dict[str, Any]:
        """The answer to a request for change; raises Failed with the relay's own words."""
        return self._ask("POST", f"{PREFIX}/{what}", json.dumps(body).encode())

    def send(self, what: str, chunks: Iterable[bytes]) -> dict[str, Any]:
        """The answer to a request whose body is long, given in pieces; raises Failed with the relay's words."""
        return self._ask("POST", f"{PREFIX}/{what}", chunks)

    def _ask(
        self, method: str, target: str, body: bytes | Iterable[bytes] | None, within_s: float = ANSWER_S
    ) -> dict[str, Any]:
        connection = _UnixConnection(self._path, within_s)
        try:
            headers = {"Content-Type": "application/json"} if isinstance(body, bytes) else {}
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return _answer(response.status, response.read())
        except OSError as error:
            raise Failed(_no_relay(self._path, error)) from None
        except HTTPException as error:
            raise Failed(f"the relay at {self._path} broke off its answer ({error!r}): see its log") from None
        finally:
            connection.close()


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, within_s: float) -> None:
        super().__init__("relay", timeout=within_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _no_relay(path: Path, error: OSError) -> str:
    """What an unreachable socket means and what to do."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"may not open {path}: run this as root or as a member of the group that owns it"
    if isinstance(error, TimeoutError):
        return f"the relay at {path} did not answer within {ANSWER_S:.0f} s: see its log"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"no relay is running here (no socket at {path}): start it with `relay serve` or give --config"
    if error.errno == errno.ECONNREFUSED:
        return f"no relay is running here (nothing answers at {path}): start it with `relay serve`"
    return f"cannot reach the relay at {path}: {error}"


def _answer(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        raise Failed(f"the relay answered {status} with no JSON: is it another version?") from None
    if status >= 400:
        kind = Declined if status == 400 else Failed
        raise kind(str(answer.get("error", {}).get("message", f"the relay answered {status}")))
    assert isinstance(answer, dict)
    return answer
