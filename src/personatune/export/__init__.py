"""Runs as files that other programs read, each reloaded and compared with the run before it counts."""
