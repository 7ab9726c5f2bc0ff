"""The xarray accessor `ds.orbitlite`, of datasets and of named arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import xarray as xr

from orbitlite.inference.options import PredictKeywords, PredictOptions, shows
from orbitlite.renamed import with_old_names

if TYPE_CHECKING:
    from orbitlite.api import Model, Source
    from orbitlite.data.regrid import Method
    from orbitlite.verification.evaluation import Evaluation


class OrbitliteAccessor:
    """Downscale and evaluate a dataset: `ds.orbitlite.predict(model)`, `.evaluate(truth)`.

    An array has it too, `ds["t2m"].orbitlite`, if it has a name. Stateless; each method hands over
    to the function of the same name in `orbitlite.api`.
    """

    def __init__(self, data: xr.Dataset | xr.DataArray) -> None:
        self._data = data

    @shows(PredictOptions)
    def predict(self, model: Model, **options: Unpack[PredictKeywords]) -> xr.Dataset:
        """Downscale these fields; see `orbitlite.predict`.

        Parameters
        ----------
        model : Bundle, Downscaler, str or Path, or a list of paths
        **options
        """
        from orbitlite.api import predict

        return predict(self._data, model, **options)

    @with_old_names
    def evaluate(
        self,
        truth: Source,
        *,
        coarse: Source | None = None,
        training: tuple[Any, Any] | None = None,
        accumulation_period: str | None = None,
        resample: str | None = None,
        regrid: Method | None = None,
        progress: bool = True,
    ) -> Evaluation:
        """Score this prediction against `truth`; see `orbitlite.evaluate`."""
        from orbitlite.api import evaluate

        return evaluate(
            self._data, truth, coarse=coarse, training=training,
            accumulation_period=accumulation_period, resample=resample, regrid=regrid,
            progress=progress,
        )  # fmt: skip


def register() -> None:
    """Make the accessor known to xarray."""
    for enter in (xr.register_dataset_accessor, xr.register_dataarray_accessor):
        enter("orbitlite")(OrbitliteAccessor)  # type: ignore[no-untyped-call]
