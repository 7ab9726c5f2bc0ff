"""Colours of maps: which values have which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.colors import Colormap, Normalize

    from orbitlite.verification.results import Result

_SMALL_STEPS = (0.1, 0.2, 0.5)
_RAIN_STEPS = (0.1, 1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500)
_DRY = "#fcfcf8"


def shared_colours(result: Result, fields: list[NDArray[Any]]) -> tuple[Colormap, Normalize]:
    """Return colour map and limits for all fields of a variable on one day.

    Precipitation has steps that widen with the amount, and white where it is dry; other variables
    run from the lowest to the highest value, winds evenly around zero.
    """
    import matplotlib
    from matplotlib.colors import BoundaryNorm, Normalize

    values = np.concatenate([field[np.isfinite(field)] for field in fields])
    cmap = matplotlib.colormaps[result.quantity.cmap]
    if result.quantity.precipitation:
        whole = _RAIN_STEPS if result.quantity.daily else (*_SMALL_STEPS, *_RAIN_STEPS[1:])
        top = float(values.max(initial=1.0))
        count = next((n for n, step in enumerate(whole) if step > top), len(whole) - 1)
        steps = whole[: max(count + 1, 4)]
        return cmap.with_extremes(under=_DRY), BoundaryNorm(steps, cmap.N)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if result.quantity.cmap == "RdBu_r":
        high = max(abs(low), abs(high))
        low = -high
    return cmap, Normalize(low, high)


def difference_colours(result: Result, difference: NDArray[Any]) -> tuple[Colormap, Normalize]:
    """Return a diverging map centred on zero: brown too dry, green too wet; blue to red else."""
    import matplotlib
    from matplotlib.colors import Normalize

    sizes = np.abs(difference[np.isfinite(difference)])
    limit = float(np.quantile(sizes, 0.995)) if sizes.size else 1.0
    cmap = matplotlib.colormaps["BrBG" if result.quantity.precipitation else "RdBu_r"]
    return cmap, Normalize(-limit, limit) if limit > 0 else Normalize(-1.0, 1.0)


def ticks(norm: Normalize) -> dict[str, Any]:
    """Label every step of a stepped colour bar."""
    layout: dict[str, Any] = {"aspect": 20, "pad": 0.015}
    steps = getattr(norm, "boundaries", None)
    return layout if steps is None else {**layout, "ticks": steps, "format": "{x:g}"}
