"""Benchmarks against reference formulations."""
