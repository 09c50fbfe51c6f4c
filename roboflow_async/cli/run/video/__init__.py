"""Videos and cameras as inputs of `run`: a line for each frame, and the clip with its boxes."""
