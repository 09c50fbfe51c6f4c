"""A stand-in for Roboflow's platform: what lies beside inference."""
