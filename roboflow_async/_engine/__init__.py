"""The way of one call: paced, retried, sent. It knows nothing of Workflows or models."""
