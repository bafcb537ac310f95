"""HTTP: health and metrics for monitoring, the control API for the command line."""
