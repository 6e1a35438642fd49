"""Measurements, each side by side with its like in one run: `make bench`."""
