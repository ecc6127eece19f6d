"""Measurements: each compares two things within one run, for machines differ and are noisy.

`python -m loadtest` runs all of them and prints a table; `python -m loadtest overhead` one. `--help` shows
the options.
"""
