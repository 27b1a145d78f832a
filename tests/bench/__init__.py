"""Measurements, side by side in one run: `make bench`. Nothing here is asserted; the table is for people."""
