"""Sphere: places as unit vectors, arcs and areas between them."""

from __future__ import annotations

import math

import numpy as np

from orbitlite.grids.cells import Floats

KM_PER_DEGREE = 6371.0 * math.pi / 180
"""Of a great circle, on a sphere of the earth's mean radius."""

_CELLS = 2**18
"""Whose areas are found at a time."""


def vectors(lat: Floats, lon: Floats) -> Floats:
    """Return the unit vectors (..., 3) of latitudes and longitudes (...) in degrees."""
    phi, lam = np.radians(lat), np.radians(lon)
    out: Floats = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], -1)
    return out


def degrees(x: Floats) -> tuple[Floats, Floats]:
    """Return latitudes and longitudes (...), -180 to 180, of vectors (..., 3) of any length."""
    lat = np.degrees(np.arctan2(x[..., 2], np.hypot(x[..., 0], x[..., 1])))
    return lat, np.degrees(np.arctan2(x[..., 1], x[..., 0]))


def angles(one: Floats, other: Floats) -> Floats:
    """Return the arcs between vectors (..., 3), in degrees, exact for short ones."""
    across = np.linalg.norm(np.cross(one, other), axis=-1)
    out: Floats = np.degrees(np.arctan2(across, (one * other).sum(-1)))
    return out


def signed_areas(corners: Floats) -> Floats:
    """Return the areas of cells, in steradians; negative where corners run the other way round.

    Parameters
    ----------
    corners : ndarray of shape (H + 1, W + 1, 3)
        Unit vectors, rows from north to south and columns from west to east. Edges are arcs of
        great circles.

    Returns
    -------
    ndarray of shape (H, W)
        Of two triangles each: Van Oosterom and Strackee 1983, "The solid angle of a plane
        triangle", equation 8.
    """
    areas = np.empty((corners.shape[0] - 1, corners.shape[1] - 1))
    step = max(1, _CELLS // areas.shape[1])  # the products of a large grid would fill the memory
    for start in range(0, len(areas), step):
        band = corners[start : start + step + 1]
        a, b, d, c = band[:-1, :-1], band[:-1, 1:], band[1:, :-1], band[1:, 1:]
        areas[start : start + step] = _triangles(a, d, c) + _triangles(a, c, b)
    return areas


def _triangles(a: Floats, b: Floats, c: Floats) -> Floats:
    volume = (a * np.cross(b, c)).sum(-1)
    edges = 1 + (a * b).sum(-1) + (b * c).sum(-1) + (c * a).sum(-1)
    out: Floats = 2 * np.arctan2(volume, edges)
    return out


def around(points: Floats) -> Floats:
    """Return the corners (H + 1, W + 1, 3) between points (H, W, 3), at the edges beyond them."""
    for axis in (0, 1):
        first, last = (np.take(points, [at], axis) for at in (0, -1))
        second, before = (np.take(points, [at], axis) for at in (1, -2))
        points = np.concatenate([2 * first - second, points, 2 * last - before], axis)
        points = (np.delete(points, 0, axis) + np.delete(points, -1, axis)) / 2
    out: Floats = points / np.linalg.norm(points, axis=-1, keepdims=True)
    return out


def extended(corners: Floats, axis: int, before: int, behind: int) -> Floats:
    """Add corners (..., 3) along an axis: each as far on along a great circle as the last two.

    Examples
    --------
    >>> line = vectors(np.zeros((1, 2)), np.array([[10.0, 20.0]]))
    >>> degrees(extended(line, 1, 1, 2))[1].round(9)[0, 1:].tolist()
    [10.0, 20.0, 30.0, 40.0]
    """
    rows = list(np.moveaxis(corners, axis, 0))
    for _ in range(before):
        rows.insert(0, _onward(rows[1], rows[0]))
    for _ in range(behind):
        rows.append(_onward(rows[-2], rows[-1]))
    return np.stack(rows, axis)


def _onward(one: Floats, next_: Floats) -> Floats:
    """Return unit vectors as far beyond the second ones as these are from the first."""
    out: Floats = 2 * (one * next_).sum(-1, keepdims=True) * next_ - one
    return out


def divided(corners: Floats, factor: int) -> Floats:
    """Divide cells: corners (H + 1, W + 1, 3) to (f H + 1, f W + 1, 3), bilinear in them."""
    for axis in (0, 1):
        count = corners.shape[axis] - 1
        at = np.arange(count * factor + 1) / factor
        cell = np.minimum(at.astype(int), count - 1)
        share = (at - cell).reshape(-1, *[1] * (2 - axis))
        start, end = np.take(corners, cell, axis), np.take(corners, cell + 1, axis)
        corners = start + (end - start) * share
    out: Floats = corners / np.linalg.norm(corners, axis=-1, keepdims=True)
    return out
