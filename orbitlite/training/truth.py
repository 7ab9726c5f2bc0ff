"""Truth: whether the sources of a run have what it is to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import SharedError
from orbitlite.parallel.mesh import Layout
from orbitlite.training.module import DownscalingModule


def check_truth(
    module: DownscalingModule, data: PairDataModule, sizes: Layout, command: str
) -> None:
    """Refuse sources without truth that nothing is learned from, and what they do not go with.

    Parameters
    ----------
    module : DownscalingModule
    data : PairDataModule
        Not opened yet.
    sizes : Layout
    command : {"fit", "validate", "test", "predict"}

    Raises
    ------
    SharedError
    """
    lacking = [name for name in data.parts if name not in data.truthful]
    where = f"data.sources.{lacking[0]}" if lacking and lacking[0] else "data"
    if command == "predict" and not data.truthful:
        raise SharedError(
            "orbitlite predict takes the period of pairs, and data.fine is not stated; "
            "`orbitlite downscale` makes fine fields of coarse ones"
        )
    if command == "predict":
        return
    if lacking and module.network.config.tasks:
        raise SharedError(
            f"{where} has coarse fields and no truth, of which a network of several tasks "
            f"(model.network.tasks) cannot learn: state {where}.fine, or leave the source out"
        )
    if lacking and module.reconstruction is None:
        raise SharedError(
            f"{where} has coarse fields and no truth: state {where}.fine, or model.reconstruction: "
            "{} to learn from the coarse fields alone"
        )
    if module.reconstruction is not None and not lacking and command == "fit":
        raise SharedError(
            "model.reconstruction is for sources without truth, and each source has its own: state "
            "one with coarse alone (data.sources.NAME: {coarse: ...}), or leave "
            "model.reconstruction out"
        )
    if module.tuning is not None and module.tuning.tune == "head" and not data.truthful:
        raise SharedError(
            f"init.tune head learns the decoder, and {where} has no truth to learn it from: state "
            "init.tune full or lora, or a source with truth"
        )
    if lacking and sizes.tensor > 1:
        raise SharedError(
            f"parallel.tensor {sizes.tensor}: processes that share the channels do not hide them "
            "from each other (model.reconstruction); state parallel.tensor 1"
        )
    if lacking and module.network.config.ridge is not None:
        raise SharedError(
            f"model.network.ridge is solved on coarse and fine fields, and {where} has no truth: "
            "leave out one of the two"
        )


def check_head(module: DownscalingModule, state: Mapping[str, Any], path: str) -> None:
    """Compare the head of a reconstruction with that of a checkpoint, which may have none.

    Parameters
    ----------
    module : DownscalingModule
    state : mapping
        The checkpoint.
    path : str
        Of it.

    Raises
    ------
    SharedError
        If one has a head and the other has not.
    """
    had = state["hyper_parameters"].get("reconstruction") is not None
    if had is not (module.reconstruction is not None):
        ours, theirs = ("{...}" if one else "null" for one in (not had, had))
        raise SharedError(
            f"{path} is of a fit with model.reconstruction {theirs}, found {ours}: state the same, "
            "leave it out (it is then taken from the checkpoint), or begin with the bundle (--init)"
        )
