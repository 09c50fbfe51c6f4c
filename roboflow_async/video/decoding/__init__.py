"""One video, decoded by PyAV: a frame for every frame that it has, or what is wrong with it."""
