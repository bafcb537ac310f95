"""What happened, told to people and programs: events feed metrics and the event log."""
