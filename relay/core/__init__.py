"""The words and verdicts of mail: pure values and functions, no I/O, no clock, no randomness."""
