"""What a failed handshake is called in the log."""

from __future__ import annotations

import ssl

import pytest

from relay.inbound.tls import failure_hint


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ssl_error("UNSUPPORTED_PROTOCOL"), "old TLS version; listen with profile: legacy"),
        (ssl_error("NO_SHARED_CIPHER"), "old ciphers"),
        (ssl_error("TLSV1_ALERT_UNKNOWN_CA"), "does not trust our certificate"),
        (ssl_error("SOMETHING_NEW"), "SOMETHING_NEW: see the client"),
        (ssl.SSLError(1, "no reason given"), "no reason given"),
        (TimeoutError(), "never finished"),
        (ConnectionAbortedError("SSL handshake is taking longer than 30 seconds"), "never finished"),
        (ConnectionResetError(), "closed during the handshake"),
        (OSError(9, "Bad file descriptor"), "OSError: "),
    ],
)
def test_hints(error: OSError, hint: str) -> None:
    assert hint in failure_hint(error)
