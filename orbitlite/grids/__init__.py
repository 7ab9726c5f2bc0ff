"""Grids: cells on the sphere of any geometry, their finer and coarser versions."""
