"""A plan: how long a job takes by each way, and what it costs."""
