"""What a call runs: a Workflow, a model or an endpoint; alone, as a stream, or as a load test."""
