"""A checkpoint to one GGUF file, or to two if its model sees."""

REVISION = 2
"""Raised when the same checkpoint would become another file, so that files made before are made again."""
