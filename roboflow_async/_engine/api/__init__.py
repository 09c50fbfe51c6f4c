"""Builds requests and parses responses, without any I/O."""
