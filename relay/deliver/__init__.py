"""Mail going out: where to, from which source, over which connection, and what came of it."""
