"""Whose fault a failure is: an input's, a rate limiter's, or chance's."""
