"""Streams of results: many inputs through one target."""
