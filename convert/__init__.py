"""A checkpoint to one GGUF file."""
