"""Prediction and its files."""
