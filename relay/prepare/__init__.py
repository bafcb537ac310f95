"""Finishing a message before it is queued: missing headers, trace, encoding, DKIM."""
