"""Surroundings of a run: what the trainer takes for the launcher of its processes."""

from __future__ import annotations

import logging
import os
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from orbitlite.errors import SharedError
from orbitlite.notice import notice
from orbitlite.parallel.launch import by_srun, by_torchrun

logger = logging.getLogger(__name__)


def surroundings(devices: int, nodes: int) -> list[Any]:
    """Find out who starts the processes of a run.

    Parameters
    ----------
    devices, nodes : int
        Processes of a node, and nodes.

    Returns
    -------
    list
        Plugins of the trainer: none where it finds out by itself.

    Raises
    ------
    SharedError
        If processes would wait for others that nobody starts.
    """
    if by_torchrun():
        return []
    if by_srun():
        started = int(os.environ["SLURM_NTASKS"])
        if started != devices * nodes:
            raise SharedError(
                f"srun has started {started} processes, and the run has {devices * nodes} "
                f"(trainer.devices {devices} x trainer.num_nodes {nodes}); make them equal"
            )
        if started > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
            raise SharedError(
                f"srun has started {started} processes, but not the same number on every node: "
                "state --ntasks-per-node instead of --ntasks"
            )
        return []
    by_hand = {"MASTER_ADDR", "LOCAL_RANK", "NODE_RANK"} & set(os.environ)
    if nodes > 1 and not by_hand:
        raise SharedError(
            f"trainer.num_nodes {nodes}: start the command on every node with torchrun or srun; "
            "this process would wait for others forever"
        )
    if devices > 1 and "LOCAL_RANK" in os.environ and "NODE_RANK" not in os.environ:
        raise SharedError(
            "the environment's LOCAL_RANK says that a launcher has started this process, and "
            "nothing else does; unset it"
        )
    if "SLURM_NTASKS" not in os.environ:
        return []
    notice(
        logger,
        "Variables of SLURM are set, and srun has not started this process: it starts those that "
        "it needs itself.",
    )
    return [LightningEnvironment()]
