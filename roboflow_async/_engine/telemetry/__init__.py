"""Tells hooks and the log what happens to calls."""
