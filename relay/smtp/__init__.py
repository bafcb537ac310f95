"""The outbound SMTP protocol without sockets: bytes in, bytes and results out."""
