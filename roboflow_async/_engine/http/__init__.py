"""One attempt, from a connection to a response."""
