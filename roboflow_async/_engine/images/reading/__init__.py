"""Reads images: from files, from file objects, and from object storage."""
