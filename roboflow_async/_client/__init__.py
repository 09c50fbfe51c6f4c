"""The client and its parts."""
