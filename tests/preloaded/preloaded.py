"""What the processes that tests fork have behind them: imports, and the table of units."""

import contextlib

import torch_harmonics  # noqa: F401  (it loads the compiler of torch)
import zarr  # noqa: F401

import orbitlite.api
import orbitlite.training.cli  # noqa: F401
from orbitlite.variables.units import parse

parse("mm")
with contextlib.suppress(ImportError):  # dask looks for its client
    import distributed  # noqa: F401
