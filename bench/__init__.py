"""Benchmarks: what the engine costs beside a program that has none; run by `python -m bench`."""
