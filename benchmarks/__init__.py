"""Trials of the whole gateway, run by hand: `python -m benchmarks.fleet`."""
