"""What is sent and what comes back, built and parsed: no input, no output."""
