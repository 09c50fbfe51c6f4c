"""How one call is paced, retried and sent. It knows nothing about Workflows or models."""
