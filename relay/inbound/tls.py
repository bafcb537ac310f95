"""TLS for listeners: contexts made from files, and what a failed handshake means for who reads the log."""

from __future__ import annotations

import ssl
import warnings

# OpenSSL's security level 1 and above forbids the signatures of TLS 1.0 and 1.1; old devices know no others.
LEGACY_CIPHERS = "ALL:!aNULL:!eNULL:!EXPORT:@SECLEVEL=0"

ELSEWHERE = "listen with profile: legacy on a port of its own"
DISTRUST = "this client does not trust our certificate; serve the chain of a public CA, or install ours there"
HINTS = {  # OpenSSL's reason: what it means and what to do
    "UNSUPPORTED_PROTOCOL": f"this client offered only an old TLS version; {ELSEWHERE}",
    "VERSION_TOO_LOW": f"this client offered only an old TLS version; {ELSEWHERE}",
    "NO_SHARED_CIPHER": f"this client knows only old ciphers; {ELSEWHERE}",
    "NO_SHARED_SIGNATURE_ALGORITHMS": f"this client knows only old signatures; {ELSEWHERE}",
    "WRONG_VERSION_NUMBER": "this client does not speak TLS here; tls: implicit wants it from the first byte",
    "HTTP_REQUEST": "this is a web browser or a health check, not a mail client",
    "TLSV1_ALERT_UNKNOWN_CA": DISTRUST,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": DISTRUST,
    "SSLV3_ALERT_BAD_CERTIFICATE": "this client rejects our certificate; is the host name it uses in it?",
    "TLSV1_ALERT_PROTOCOL_VERSION": "this client wants another TLS version than we offered",
}


def server_context(certificate: str, key: str, *, profile: str = "modern") -> ssl.SSLContext:
    """A context for listeners: TLS 1.2 and up, or with profile legacy from TLS 1.0 on with every cipher that
    encrypts. Raises OSError or ssl.SSLError when the files (PEM) cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if profile == "legacy":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.0 is deprecated, and meant
            context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers(LEGACY_CIPHERS)
    return context


def failure_hint(error: BaseException) -> str:
    """One line for the log: what the handshake failed of, and what to do about it."""
    if isinstance(error, TimeoutError):
        return "the client never finished the TLS handshake"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or ""
        return f"{reason or error}: {HINTS.get(reason, 'see the client for the other half of the story')}"
    if isinstance(error, ConnectionError):
        if "longer than" in str(error):  # asyncio's words for ssl_handshake_timeout
            return "the client never finished the TLS handshake"
        return "the client closed during the handshake; often it does not trust our certificate"
    return f"{type(error).__name__}: {error}"
