"""The trainer's strategy for several processes: axes, sharded weights, checkpoint folders."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orbitlite.errors import SharedError
from orbitlite.parallel.agreement import together
from orbitlite.parallel.folder import load_folder, part_of, read_own, read_rest, shapes
from orbitlite.parallel.launch import rejoin
from orbitlite.parallel.mesh import ParallelConfig, Ranks, mesh_of_world
from orbitlite.parallel.writer import FolderWriter
from orbitlite.training.checkpoints import join, read_checkpoint, split
from orbitlite.training.interruption import Stopped
from orbitlite.training.lightning_compat import OpenStrategy


class MeshStrategy(OpenStrategy):
    """Lightning's model-parallel strategy on the axes of `orbitlite.parallel`.

    Parameters
    ----------
    config : ParallelConfig
    """

    def __init__(self, config: ParallelConfig) -> None:
        super().__init__()
        self.config = config
        self._ranks: Ranks | None = None
        self._writer = FolderWriter(config.background_save)

    @property
    def ranks(self) -> Ranks:
        """The axes; there once the processes know each other."""
        assert self._ranks is not None
        return self._ranks

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Share samples over the data axis alone."""
        return {"num_replicas": self.ranks.sizes.data, "rank": self.ranks.data_rank}

    @property
    def lightning_restore_optimizer(self) -> bool:
        """States of the optimiser are restored by the trainer, from this process's part."""
        return True

    def before_joining(self, backend: str, timeout: timedelta | None) -> None:
        """Meet the other processes anew, where a launcher has started them again."""
        rejoin(backend, timeout)

    def lay_axes(self) -> Any:
        """Lay the axes over the processes."""
        self._ranks = mesh_of_world(self.config, self.root_device.type)
        return self._ranks.mesh

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return what this process holds."""
        assert self.lightning_module is not None
        return dict(self.lightning_module.state_dict())

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Return what this process holds of an optimiser's state."""
        state: dict[str, Any] = optimizer.state_dict()
        return state

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint folder together with the other processes."""
        path = Path(self.broadcast(str(filepath)))
        tensors, rest = split(checkpoint)
        rest["layout"] = asdict(self.ranks.sizes)
        self._writer.save(path, tensors, rest, {"random": rest.pop("random", None)})

    def remove_checkpoint(self, filepath: Any) -> None:
        """Delete a checkpoint once what is being written is whole."""
        self._writer.remove(Path(filepath))

    def on_train_end(self) -> None:
        """Wait for the last checkpoint."""
        self._writer.finish()

    def on_exception(self, exception: BaseException) -> None:
        """Wait for a checkpoint where all processes end alike."""
        super().on_exception(exception)
        if isinstance(exception, (SharedError, Stopped)):
            self._writer.finish()

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> Any:
        """Read this process's part of a checkpoint, a file or a folder of any layout.

        Raises
        ------
        SharedError
            On all processes, if it is damaged or cannot be read.
        """
        path = Path(self.broadcast(str(checkpoint_path)))
        likes = self._likes()
        if path.is_dir():
            with together():
                known = shapes(path)
            tensors = {flat: like for flat, like in likes.items() if flat in known}
            load_folder(path, tensors)
            with together():
                rest = read_rest(path)
                same = rest.get("layout") == asdict(self.ranks.sizes)
                rest |= read_own(path, self.global_rank if same else 0)
        else:
            with together():
                whole, rest = split(read_checkpoint(path))
            tensors = {f: part_of(whole[f], like) for f, like in likes.items() if f in whole}
            same = False
        if not same and self.ranks.data_rank:
            rest.pop("random", None)  # other samples, other numbers: they begin anew
        return join(tensors, rest)

    def load_model_state_dict(self, checkpoint: Any, strict: bool = True) -> None:
        """Take over this process's part of the weights."""
        assert self.lightning_module is not None
        self.lightning_module.load_state_dict(checkpoint["state_dict"], strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Any) -> None:
        """Take over this process's part of the optimiser's state."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(state)

    def _likes(self) -> dict[str, Tensor]:
        """Return empty tensors like those that a checkpoint of this process has."""
        assert self.lightning_module is not None
        state = self.lightning_module.state_dict()
        likes = {f"state_dict/{name}": torch.empty_like(value) for name, value in state.items()}
        for name, parameter in self.lightning_module.named_parameters():
            plain = parameter.detach()
            likes[f"current/{name}"] = torch.empty_like(plain)
            likes[f"optimizer/{name}/exp_avg"] = torch.empty_like(plain)
            likes[f"optimizer/{name}/exp_avg_sq"] = torch.empty_like(plain)
            likes[f"optimizer/{name}/step"] = torch.zeros(())
        return likes
