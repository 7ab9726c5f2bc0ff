"""Normalisation of a network that is to be trained: that of the training period."""

from __future__ import annotations

from typing import Any

import numpy as np

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.tasks import Tasks, networks_of
from orbitlite.parallel.agreement import together
from orbitlite.parallel.channels import share_statistics
from orbitlite.parallel.mesh import Ranks
from orbitlite.parallel.peers import Peers
from orbitlite.training.tuning import Tuning


def normalise(
    network: Downscaler | Tasks, data: PairDataModule, ranks: Ranks, tuning: Tuning | None
) -> None:
    """Give a network the normalisation of the training period, but for what it keeps.

    Parameters
    ----------
    network : Downscaler or Tasks
    data : PairDataModule
        Set up for fitting.
    ranks : Ranks
    tuning : Tuning, optional
        Of a fit that began with a bundle, some of whose normalisation it keeps.

    Raises
    ------
    InputError
        If network and data do not take the logarithm of the same channels, or a channel has no
        statistics; on all processes alike.
    """
    ours = network.config.log1p or ()
    if set(data.log1p) != set(ours):
        raise InputError(
            f"the network takes log(1 + x) of {', '.join(ours) or 'no channel'}, the data of "
            f"{', '.join(data.log1p) or 'no channel'}: state the same log1p in both"
        )
    _read_together(data, ranks)
    known = data.input_statistics
    for task, one in networks_of(network).items():
        targets = data.joint.of("targets", task)
        one.set_statistics(
            input_mean=known.mean, input_std=known.std,
            target_mean=targets.mean, target_std=targets.std,
        )  # fmt: skip
        if one.config.statics:
            statics = data.joint.of("statics", task)
            one.set_statistics(static_mean=statics.mean, static_std=statics.std)
    if isinstance(network, Tasks):
        return
    if ranks.sizes.tensor > 1:
        share_statistics(network, ranks.group("tensor"))
    if tuning is not None:
        tuning.keep_statistics(network)


def hold_samples(data: PairDataModule, ranks: Ranks, fitting: bool) -> None:
    """Decode the samples once for the processes of each node, before anything else reads them.

    Parameters
    ----------
    data : PairDataModule
        Set up.
    ranks : Ranks
    fitting : bool
        They are read in several epochs.

    Raises
    ------
    SharedError
        If a process cannot read its part.
    """
    if ranks.mesh is not None:  # one process has done so when it was set up
        data.hold(Peers(ranks, same_channels=True), fitting)


def _read_together(data: PairDataModule, ranks: Ranks) -> None:
    """Read the training period for the statistics, each process a part of it."""
    if ranks.mesh is not None:
        whole = Peers(ranks)
        own = Peers(ranks, same_channels=True)
        data.share_statistics({"inputs": own, "targets": whole, "statics": whole})
    for read in data.joint.to_read:
        with together():
            _ = read()


def whole_ranges(
    network: Downscaler | Tasks, data: PairDataModule, ranks: Ranks
) -> dict[str, list[float]]:
    """Return least and largest value of the inputs that training has, of all processes'.

    Where there is truth, of what has truth: elsewhere no fine fields were learned.
    """
    sources = data.truthful or data.parts
    sums = np.stack([part.moments("inputs").sums for part in sources.values()])
    lows, highs = sums[..., 3].min(0), sums[..., 4].max(0)
    bounds = zip(data.pairing.inputs, lows.tolist(), highs.tolist(), strict=True)
    parts: list[Any] = ranks.gather(
        {name: [low, high] for name, low, high in bounds if low <= high}
    )
    found = {name: ends for part in parts for name, ends in part.items()}
    return {name: found[name] for name in network.config.inputs if name in found}
