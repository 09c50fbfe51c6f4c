"""One call with all its attempts: when each is sent, and what follows a failed one."""
