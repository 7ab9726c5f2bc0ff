"""The xarray accessor `ds.orbitlite`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from orbitlite.verification.results import Evaluation


class OrbitliteAccessor:
    """Downscale and evaluate a dataset: `ds.orbitlite.predict(model)`, `.evaluate(truth)`.

    Stateless; each method hands over to the function of the same name in `orbitlite.api`.
    """

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    def predict(self, model: Any, **options: Any) -> xr.Dataset:
        """Downscale this dataset; see `orbitlite.predict`."""
        from orbitlite.api import predict

        return predict(self._ds, model, **options)

    def evaluate(self, truth: Any, **options: Any) -> Evaluation:
        """Score this prediction against `truth`; see `orbitlite.evaluate`."""
        from orbitlite.api import evaluate

        return evaluate(self._ds, truth, **options)


def register() -> None:
    """Make the accessor known to xarray."""
    import xarray as xr

    xr.register_dataset_accessor("orbitlite")(OrbitliteAccessor)  # type: ignore[no-untyped-call]
