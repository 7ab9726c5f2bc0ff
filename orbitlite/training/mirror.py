"""Mirror: training on the mirror image of samples as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from orbitlite.batch import Batch, Core
from orbitlite.variables import VARIABLES, split_level


def mirror(batch: Batch, inputs: Sequence[str]) -> Batch:
    """Swap east and west in half of the batches.

    Fields and statics are turned over, eastward components and rotations change their sign (see
    `Variable.odd`), and a cell at longitude l comes to lie at -l. So the mirror image is a world of
    its own, on other places of the sphere, in which wind meets slopes as it does in ours: twice as
    many samples where there are few. Turning images over is usual in super-resolution (Lim et al.
    2017, section 3.1). What the rotation of the earth makes of weather is another matter: try it on
    the validation period.

    Parameters
    ----------
    batch : Batch
        `coarse` (B, C, H, W), with truth and edges.
    inputs : sequence of str
        Its channels.

    Returns
    -------
    Batch
        The batch itself, or all of it turned over.
    """
    # Drawn on the CPU, so that the numbers do not depend on the device.
    if torch.rand(()) < 0.5:
        return batch
    assert batch.fine is not None
    signs = batch.coarse.new_tensor([-1.0 if _odd(name) else 1.0 for name in inputs])
    statics, regression = (
        None if field is None else field.flip(-1) for field in (batch.statics, batch.regression)
    )
    return replace(
        batch,
        coarse=batch.coarse.flip(-1) * signs[:, None, None],
        fine=batch.fine.flip(-1),
        statics=statics,
        regression=regression,
        core=_turned_core(batch),
        **_turned(batch),
    )


def _turned_core(batch: Batch) -> Core | None:
    if batch.core is None:
        return None
    row, column = batch.core.first.unbind(1)
    other = batch.coarse.shape[-1] - batch.core.shape[1] - column
    return replace(batch.core, first=torch.stack([row, other], dim=1))


def _turned(batch: Batch) -> dict[str, Any]:
    """Return where the cells lie then."""
    if batch.corners is None:
        assert batch.lon_edges is not None
        return {"lon_edges": -batch.lon_edges.flip(-1)}
    over = batch.corners.flip(2) * batch.corners.new_tensor([1.0, -1.0])
    return {"corners": over, "areas": None if batch.areas is None else batch.areas.flip(-1)}


def _odd(channel: str) -> bool:
    name, _ = split_level(channel)
    return name in VARIABLES and VARIABLES[name].odd
