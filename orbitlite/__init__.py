"""Climate downscaling with a many-channel vision transformer: xarray in, fine fields out."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from orbitlite import accessor as _accessor
from orbitlite.errors import InputError

if TYPE_CHECKING:
    from orbitlite.api import downscale, evaluate, load, predict
    from orbitlite.batch import Batch
    from orbitlite.data.source import open_source
    from orbitlite.model.downscaler import Downscaler, DownscalerConfig
    from orbitlite.variables import declare_variables

__version__ = version("orbitlite")
__all__ = [
    "Batch",
    "Downscaler",
    "DownscalerConfig",
    "InputError",
    "__version__",
    "declare_variables",
    "downscale",
    "evaluate",
    "load",
    "open_source",
    "predict",
]

# Loaded on first use, so that `import orbitlite` costs no torch.
_HOMES = {
    "Batch": "orbitlite.batch",
    "Downscaler": "orbitlite.model.downscaler",
    "DownscalerConfig": "orbitlite.model.config",
    "declare_variables": "orbitlite.variables",
    "downscale": "orbitlite.api",
    "evaluate": "orbitlite.api",
    "load": "orbitlite.api",
    "open_source": "orbitlite.data.source",
    "predict": "orbitlite.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'orbitlite' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


# pyproj's PROJ first: those of other packages (eccodes, rasterio), once loaded, crash it.
import_module("orbitlite.grids.crs")
_accessor.register()
