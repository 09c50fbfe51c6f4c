"""Workflows as targets: which one, its inputs and its requests."""
