"""Size: what a peer is built for."""

from __future__ import annotations

from dataclasses import dataclass

from orbitlite.data.datamodule import PairDataModule


@dataclass(frozen=True)
class Size:
    """Counts of a task and its grid.

    Attributes
    ----------
    inputs, statics, targets : int
        C, S and K.
    factor : int
        f.
    height, width : int
        H and W.
    wraps : bool
        The grid goes once round the globe.
    """

    inputs: int
    statics: int
    targets: int
    factor: int
    height: int
    width: int
    wraps: bool = False

    @classmethod
    def of(cls, data: PairDataModule) -> Size:
        """Return the size of a data module that is set up."""
        pairing = data.pairing
        return cls(
            len(pairing.inputs), len(pairing.static_names), len(pairing.targets), pairing.factor,
            *data.grid.shape, data.grid.wraps,
        )  # fmt: skip
