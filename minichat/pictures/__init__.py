"""Pictures: found, read in a process of their own, scaled to what a model sees, and kept."""
