"""Batch Processing: jobs on many images, and their results."""
