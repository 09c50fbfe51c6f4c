"""A limit for what a client may use: requests and credits."""
