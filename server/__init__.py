"""Sportiv Stats: questions about survey tables, answered as background jobs on every core."""

__version__ = "0.1.0"
