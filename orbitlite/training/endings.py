"""Endings: fits that cannot go on, because a loss or a score is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.errors import SharedError
from orbitlite.parallel.mesh import Ranks


def stop_at_loss(trainer: Trainer, ranks: Ranks, batch: Batch, loss: Tensor) -> None:
    """End a fit whose loss is not finite, with a checkpoint of before the step.

    Parameters
    ----------
    trainer : Trainer
    ranks : Ranks
    batch : Batch
        Of this process.
    loss : Tensor
        Of the batch.

    Raises
    ------
    SharedError
        The message names the times of the batches that made it so.
    """
    own = [] if bool(torch.isfinite(loss)) or batch.time is None else batch.time.tolist()
    parts: list[Any] = ranks.gather(own)
    seconds = sorted({time for part in parts for time in part})
    times = ", ".join(str(np.datetime64(int(time), "s")) for time in seconds)
    keeper = trainer.checkpoint_callback
    folder = getattr(keeper, "dirpath", None) or f"{trainer.default_root_dir}/checkpoints"
    kept = ""
    if not getattr(trainer, "fast_dev_run", False):
        trainer.save_checkpoint(f"{folder}/before_nan.ckpt")
        kept = f" The state before the step is in {folder}/before_nan.ckpt."
    raise SharedError(
        f"the loss is not finite at step {trainer.global_step}; the samples are of "
        f"{times or 'unknown times'}.{kept} Look at the input and the truth of these times, or "
        "lower model.optimisation.lr"
    )


def stop_without_score(unscored: Sequence[str], step: int) -> None:
    """End a fit whose checkpoints cannot be told apart.

    Parameters
    ----------
    unscored : sequence of str
        Targets of which the validation has no truth.
    step : int
        Of the fit.

    Raises
    ------
    SharedError
    """
    if unscored:
        raise SharedError(
            f"the validation period has no valid truth of {', '.join(unscored)} (where the inputs "
            "say something): no checkpoint is known to be the best. State another "
            "data.validate, or other targets"
        )
    raise SharedError(
        "the network's predictions for the validation period are not finite at step "
        f"{step}; lower model.optimisation.lr"
    )
