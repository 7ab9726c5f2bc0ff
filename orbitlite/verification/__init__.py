"""Scores, spectra, baselines and their report."""
