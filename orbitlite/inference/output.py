"""Output: an array of fine fields in a store, whichever way its rows run there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Output:
    """An array `(..., lat, lon)` whose rows are counted from the north.

    Attributes
    ----------
    array : zarr.Array or xarray.Variable
    turned : bool
        Its rows run from south to north.
    """

    array: Any
    turned: bool

    def place(self, index: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the index in the array, of one with a slice of rows counted from the north."""
        *lead, rows, columns = index
        if self.turned:
            height = self.array.shape[-2]
            rows = slice(height - rows.stop, height - rows.start)
        return (*lead, rows, columns)

    def __getitem__(self, index: tuple[Any, ...]) -> Any:
        return self._turned(self.array[self.place(index)])

    def __setitem__(self, index: tuple[Any, ...], values: Any) -> None:
        self.array[self.place(index)] = self._turned(values)

    def _turned(self, values: Any) -> Any:
        return values[..., ::-1, :] if self.turned else values
