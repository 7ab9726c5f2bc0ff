"""Yardstick: what the validation score of a fit is measured on."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.pair_source import PairSource
from orbitlite.notice import warn
from orbitlite.renamed import current
from orbitlite.training.masking import KINDS
from orbitlite.training.reconstruction_scores import SCORE

logger = logging.getLogger(__name__)

_SOURCES = ("fine", "coarse", "statics", "world")
_FORMS = ("regrid", "resample", "accumulation_period", "units", "tile")
_JUDGED = (*_FORMS, "halo", "validate", "weight", "task")


class Yardstick(Callback):
    """Forget the best score when a fit goes on with another validation.

    Scores compare if they are of the same cells and times, of one source and formed alike. Where
    a fit goes on from a checkpoint with others, the checkpoint's best score would keep weights that
    are the best at something else.
    """

    def __init__(self) -> None:
        self._found: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note what the scores are measured on."""
        checkpoint["yardstick"] = self._ours(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the best scores out of a checkpoint that was measured on something else."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        ours, theirs = self._ours(trainer, pl_module), checkpoint.get("yardstick")
        if not isinstance(theirs, dict):  # an old one knows what was stated
            settings = checkpoint.get("datamodule_hyper_parameters") or {}
            theirs = _stated(current(settings, "data", tell=False))
            ours = _stated(_data(trainer).hparams)
        others = [name for name in ours if name in theirs and not _same(ours[name], theirs[name])]
        states, told = checkpoint.get("callbacks") or {}, ""
        if others:
            names = ", ".join(others)
            told = f"that of the checkpoint was measured on something else: {names} changed"
        for callback in _judges(trainer):
            if callback.state_key not in states:
                _rename(states, callback)
            state = states.get(callback.state_key)
            elsewhere = state is not None and not _is_there(state, callback, trainer.ckpt_path)
            if elsewhere and not told:
                told = "the best checkpoint so far is in another folder"
            if others or elsewhere:
                states.pop(callback.state_key, None)
        if told:
            warn(
                logger,
                f"The best score starts over, because {told}. The bundle will be of the best from "
                "here on.",
            )

    def _ours(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        if self._found is None:
            self._found = _yardstick(trainer, module)
        return self._found


def _judges(trainer: Trainer) -> list[ModelCheckpoint | EarlyStopping]:
    """Return the callbacks that compare scores."""
    return [
        callback
        for callback in trainer.callbacks  # type: ignore[attr-defined]
        if isinstance(callback, (ModelCheckpoint, EarlyStopping))
        and callback.monitor not in (None, "step", "epoch")
    ]


def _rename(states: dict[str, Any], callback: ModelCheckpoint | EarlyStopping) -> None:
    """Let a callback find its state, of which Lightning's key tells how often it saves as well."""
    kind = f"{type(callback).__qualname__}{{"
    found = [
        key
        for key, state in states.items()
        if key.startswith(kind) and f"'monitor': {callback.monitor!r}" in key and state
    ]
    if len(found) == 1:
        states[callback.state_key] = states.pop(found[0])


def _is_there(state: dict[str, Any], callback: Any, path: Any) -> bool:
    """Tell whether the best checkpoints lie in the run's folder, which may have been moved."""
    folder, before = getattr(callback, "dirpath", None), state.get("dirpath")
    if not folder or before in (None, folder) or not state.get("best_model_path"):
        return True
    names = [Path(name).name for name in state.get("best_k_models", {})]
    moved = Path(os.path.realpath(path)).parent == Path(folder)
    if not moved or not all((Path(folder) / name).exists() for name in names):
        return False
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        if state.get(key):
            state[key] = str(Path(folder) / Path(state[key]).name)
    scores = state.get("best_k_models", {}).items()
    state["best_k_models"] = {str(Path(folder) / Path(n).name): score for n, score in scores}
    state["dirpath"] = folder
    return True


def _data(trainer: Trainer) -> PairDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, PairDataModule)
    return data


def _yardstick(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """Return what the scores are measured on, in plain values; empty without a validation."""
    data = _data(trainer)
    parts = {name: part for name, part in data.parts.items() if "validate" in part.periods}
    if not parts:
        return {}
    found = _stated(data.hparams)
    del found["data.validate"]
    for name, part in parts.items():
        found |= _measured(part, f" of {name}" if name else "")
    found["trainer.limit_val_batches"] = trainer.limit_val_batches
    found |= {
        f"{type(callback).__qualname__}.{name}": getattr(callback, name)
        for callback in _judges(trainer)
        for name in ("monitor", "mode")
    }
    if any(callback.monitor == "val_loss" for callback in _judges(trainer)):
        names = ("loss", "loss_space", "target_weights")
        found |= {f"model.{name}": module.hparams[name] for name in names}
    if any(str(callback.monitor).endswith(SCORE) for callback in _judges(trainer)):
        masks = dict(module.hparams["reconstruction"] or {})
        found |= {f"model.reconstruction.{name}": masks.get(name) for name in KINDS}
        found["data.seed"] = data.seed
    return found


def _measured(part: PairSource, of: str) -> dict[str, Any]:
    """Return times, cells and truth of a source that scores are of."""
    times, grid = part.times("validate"), part.pairs.fine_grid
    corners, samples = grid.corners, part.dataset("validate")
    ends = (samples[place] for place in (0, len(samples) - 1))
    return {
        f"the validation times{of}": [str(times.min()), str(times.max()), len(times)],
        f"the region{of}": [
            *(float(corners[i, i, axis]) for axis in (0, 1) for i in (0, -1)), *grid.shape,
        ],
        f"the truth{of}": [
            float(value) for end in ends
            for value in _means(end.coarse if end.fine is None else end.fine)
        ],
    }  # fmt: skip


def _means(fields: torch.Tensor) -> list[float]:
    """Return the mean of each channel of (1, C, H, W) where there is a value."""
    return [float(value) for value in fields.double().nanmean(dim=(0, 2, 3))]


def _stated(settings: Any) -> dict[str, Any]:
    """Return the settings of the data that decide what is measured."""
    found = {f"data.{name}": settings.get(name) for name in (*_FORMS, "validate")}
    found["data.halo"] = settings.get("halo") if settings.get("tile") else None
    several = settings.get("sources") or {}
    found |= {
        f"data.sources.{name}": {
            **{key: own[key] for key in _JUDGED if key in own},
            **{key: _place(own[key]) for key in _SOURCES if key in own},
        }
        for name, own in several.items()
    }
    return found | {f"data.{name}": _place(settings.get(name)) for name in _SOURCES}


def _place(source: Any) -> Any:
    """Return a source under one name, from wherever it is looked at."""
    if isinstance(source, (list, tuple)):
        return [_place(entry) for entry in source]
    if not isinstance(source, str) or "://" in source or source == "world":
        return source
    return os.path.abspath(source)


def _same(own: Any, other: Any) -> bool:
    """Tell whether two values are equal, numbers up to the rounding of another machine."""
    if isinstance(own, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(own) == len(other) and all(map(_same, own, other))
    if isinstance(own, float) and isinstance(other, (int, float)):
        return bool(np.isclose(own, other, rtol=1e-5, atol=1e-9, equal_nan=True))
    return bool(own == other)
