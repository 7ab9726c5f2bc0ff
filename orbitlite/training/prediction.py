"""Prediction of the period that a config states, into a file of the run's folder."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning import Trainer

from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.naming import note, notes
from orbitlite.errors import InputError
from orbitlite.inference.journal import Journal
from orbitlite.inference.options import FileOptions
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.proof import AnotherJob
from orbitlite.inference.store import to_file
from orbitlite.inference.writer import check_output
from orbitlite.model.bundle import Bundle
from orbitlite.model.record import check_decoder, ranges_of
from orbitlite.model.statics import Statics
from orbitlite.model.tasks import Tasks
from orbitlite.notice import notice, warn
from orbitlite.training.checkpoints import read_checkpoint
from orbitlite.training.module import DownscalingModule
from orbitlite.training.provenance import statics_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictionFile:
    """Where `orbitlite predict` writes in the run's folder.

    Parameters
    ----------
    name : str
        File name; ends in `.nc` or `.zarr`.
    members : int, optional
        Members that a network with noise draws; None: one.
    seed : int
        Of the ensemble.
    statistics : str or list of str, optional
        Of the members, in place of them; see `PredictOptions`.
    task : str, optional
        Which of several tasks of the network, with its first source.
    """

    name: str = "prediction.nc"
    members: int | None = None
    seed: int = 0
    statistics: str | list[str] | None = None
    task: str | None = None

    def __post_init__(self) -> None:
        if not self.name.endswith((".nc", ".zarr")) or set(self.name) & set("/\\"):
            raise InputError(
                f"prediction_file.name: expected the name of a file that ends in .nc or .zarr, "
                f"found {self.name!r}"
            )
        _ = FileOptions(**self.of_members)

    @property
    def of_members(self) -> dict[str, Any]:
        """What of it concerns the members."""
        return {"members": self.members, "seed": self.seed, "statistics": self.statistics}


def predict_period(
    trainer: Trainer,
    model: DownscalingModule,
    data: PairDataModule,
    checkpoint: str | Path | None,
    file: PredictionFile,
) -> Path:
    """Predict the period `predict` of a data module; what stood under the file's name is replaced.

    An unfinished file of the same job is gone on with; another one starts from the beginning.

    Parameters
    ----------
    trainer : Trainer
        Its folder, device and precision are used.
    model : DownscalingModule
    data : PairDataModule
        Set up.
    checkpoint : str or Path, optional
        Its weights are taken. None: those of the model.
    file : PredictionFile

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the network cannot serve the data, or the file cannot be written.
    """
    ranges: dict[str, list[float]] = {}
    if checkpoint is None:
        warn(logger, "No checkpoint is stated (--ckpt_path): the network is an untrained one.")
    else:
        state = read_checkpoint(checkpoint)
        metadata = state["provenance"].get("metadata", {})
        check_decoder(metadata)
        model.load_state_dict(state["state_dict"])
        ranges = ranges_of(next(iter((metadata.get("tasks") or {"": metadata}).values())))
        logger.info("The weights are those of %s", checkpoint)
    network = model.network
    if isinstance(network, Tasks):
        network = network.alone(data.first.task or "")
    statics = statics_of(network.config, data.first)
    bundle = Bundle(
        network,
        {"training": {"ranges": ranges, "context": data.pairing.context}},
        Statics(**statics) if statics else None,
    )
    precision: Any = trainer.precision_plugin
    half = "bf16" in str(trainer.precision)
    options = FileOptions(
        resume=half or str(trainer.precision) == "32-true",  # of others a job does not tell
        overwrite=True,
        batch_size=data.batch_size,
        device=str(trainer.strategy.root_device),
        precision="bf16" if half else "float32",
        **file.of_members,
    )
    path = check_output(Path(trainer.default_root_dir) / file.name, overwrite=True)
    if data.first.tile is not None:
        notice(
            logger, f"data.tile {data.first.tile} is of the fit and its scores: the prediction "
            "takes the whole grid at once, or tiles that it chooses.",
        )  # fmt: skip
    coarse = data.coarse_dataset("predict", context=True)
    coarse = note(coarse, notes(data.pairs.fine))  # rows as there
    prediction = Prediction.of(coarse, bundle, options)
    prediction = replace(prediction, fine_grid=data.fine_grid)  # the truth's to the last digit
    with precision.forward_context(), Journal.held(path) as journal:
        try:
            to_file(prediction, journal, options)
        except AnotherJob as error:
            notice(logger, f"{str(error).partition(';')[0]}: it starts from the beginning.")
            to_file(prediction, journal, FileOptions(overwrite=True))
    logger.info("The prediction is in %s", path)
    return path
