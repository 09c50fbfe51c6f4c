"""The client, and what it is composed of."""
