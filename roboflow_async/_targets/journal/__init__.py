"""The journal of a stream: each result on disk before it is handed over."""
