"""Checks images of every kind, makes them smaller, and encodes them."""
