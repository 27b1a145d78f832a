"""Completion for shells: a script for each of them, and what it asks minichat at every press of Tab."""
