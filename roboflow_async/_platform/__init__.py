"""What lies beside inference: the workspace."""
