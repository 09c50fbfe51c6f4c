"""Images of every kind, checked, made smaller, and encoded."""
