"""Record of a run: its settings, in the run's folder and in its checkpoints, and its curve."""

from __future__ import annotations

import logging
import os
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from orbitlite.batch import Batch
from orbitlite.configs import NotYaml, parsed
from orbitlite.errors import InputError
from orbitlite.files import replacing
from orbitlite.notice import notice
from orbitlite.training.continuation import NAMED, SETTINGS, run_of
from orbitlite.training.lightning_compat import row_of_step
from orbitlite.training.metrics import MetricsFile

logger = logging.getLogger(__name__)

_OF_A_CALL = ("config", "ckpt_path", "weights_only")
"""What a config file holds that is no setting of a fit."""


class RunRecord(SaveConfigCallback):
    """Keep `config.yaml` and the curve of a run through all that is done with it.

    A new fit replaces both when its first step begins. One that goes on adds to the curve; if its
    settings are others, they stand in `config_step<N>.yaml`, after the step that it goes on from.
    Other commands write neither. Checkpoints hold the settings, so that a fit can go on without a
    config.

    Arguments are those of Lightning's callback.
    """

    def __init__(self, parser: Any, config: Any, **options: Any) -> None:
        super().__init__(parser, config, **options)
        self._text = ""
        self._run, self._loaded = uuid.uuid4().hex, ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the settings."""
        # as it is now: callbacks and loggers are free to change what they were given
        self._text = self._text or self.parser.dump(self.config, skip_none=False)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note which run the checkpoint is of."""
        self._loaded = str(checkpoint.get("run") or "")

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the settings, and which run it is of."""
        checkpoint["run"] = self._run
        checkpoint["settings"] = self._content

    @cached_property
    def _content(self) -> dict[str, Any]:
        content = parsed(self._text)
        return {name: content[name] for name in SETTINGS if name in content}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the record, or go on with it."""
        place = trainer.log_dir
        local = place is not None and "://" not in place
        folder = Path(str(place) if local else trainer.default_root_dir)
        goes_on = self._goes_on(trainer, folder)
        step = trainer.global_step if goes_on else None
        if goes_on and self._loaded:
            self._run = self._loaded
        if not trainer.is_global_zero:
            return
        for file in _files(trainer):
            file.begin(step)
        self._write(folder, step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Write the row of a step before a checkpoint of it is saved, which Lightning does after.

        So a fit that ends right behind the checkpoint has its row; it is not written twice.
        """
        if trainer.is_global_zero and (due := row_of_step(trainer)):
            step, row = due
            for file in _files(trainer):
                file.log_metrics(row, step)
                file.save()

    def _goes_on(self, trainer: Trainer, folder: Path) -> bool:
        """Tell whether this fit is one of this folder's that goes on.

        Its checkpoint is, where it lies in the folder or has the name of the run that the config
        there has; a checkpoint of another run begins a new one.
        """
        if trainer.ckpt_path is None:
            return False
        root, path = os.path.realpath(trainer.default_root_dir), os.path.realpath(trainer.ckpt_path)
        keeper = getattr(trainer.checkpoint_callback, "dirpath", None) or root
        inside = any(Path(path).is_relative_to(os.path.realpath(place)) for place in (root, keeper))
        return inside or (bool(self._loaded) and self._loaded == run_of(folder))

    def _write(self, folder: Path, step: int | None) -> None:
        path = folder / self.config_filename
        if step is None and self._is_read(path):
            notice(logger, f"{path} is the config of this fit, and is left as it is.")
            return
        if step is not None and path.exists():
            if _settings(path.read_text(errors="replace")) == _settings(self._text):
                return
            path = folder / f"config_step{step}.yaml"
            notice(logger, f"The settings from step {step} on are in {path}.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                partial.write_text(f"{NAMED}{self._run}\n{self._text}")
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error

    def _is_read(self, path: Path) -> bool:
        """Tell whether a file is a config that this fit was given and that no fit has written."""
        given = {os.path.realpath(str(name)) for name in self.config.get("config") or []}
        if os.path.realpath(path) not in given:
            return False
        return not path.read_text(errors="replace").startswith(NAMED)


def _files(trainer: Trainer) -> list[MetricsFile]:
    return [file for file in trainer.loggers if isinstance(file, MetricsFile)]


def _settings(text: str) -> Any:
    """Return what a config says; None if it says nothing that can be read."""
    try:
        content = parsed(text)
    except NotYaml:
        return None
    if not isinstance(content, dict):
        return None
    return {name: value for name, value in content.items() if name not in _OF_A_CALL}
