"""Models as targets: which one, its options and its task."""
