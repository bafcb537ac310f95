"""The process's settings: read, checked with every mistake at once, and immutable from then on."""
