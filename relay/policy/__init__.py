"""YAML rules to decisions: pure, compiled once, asked once for each message."""
