"""Decides when the next attempt may leave: the pace, its law, and how processes share it."""
