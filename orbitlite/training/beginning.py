"""Beginning: a fit that begins with the weights of a bundle, and one that goes on from such."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console

from orbitlite.errors import InputError, SharedError
from orbitlite.model.bundle import load_bundle
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.record import pretrained_only, unseen_of
from orbitlite.notice import notice
from orbitlite.parallel.launch import process_rank
from orbitlite.training.fresh_weights import FreshWeights
from orbitlite.training.initialisation import match, substance, take
from orbitlite.training.inventory import inventory
from orbitlite.training.tuning import InitConfig, Tuning, adapt_blocks, check_init

logger = logging.getLogger(__name__)

_WIDE = 160


def begin(
    network: Downscaler,
    options: InitConfig,
    fresh: FreshWeights | None = None,
    decodes: bool = True,
) -> Tuning:
    """Give a network the weights of a bundle that suit it, and print what is taken, new or left.

    Parameters
    ----------
    network : Downscaler
        Whole, or its outline; is changed.
    options : InitConfig
        With a bundle.
    fresh : FreshWeights, optional
        Of an outline: is told what is to be taken.
    decodes : bool
        Whether any source of the fit has truth; else the decoder does not learn.

    Returns
    -------
    Tuning

    Raises
    ------
    SharedError
        If there is no such bundle, nothing of it suits, or there is nothing to adapt.
    """
    path = str(options.bundle)
    if path.endswith(".ckpt"):
        raise SharedError(
            f"init.bundle: {path} is a checkpoint; `orbitlite export {path} BUNDLE` makes a bundle "
            "of it"
        )
    try:
        bundle = load_bundle(path, options.task)
    except InputError as error:
        where = "init.bundle" if options.task is None else "init.task"
        raise SharedError(f"{where}: {error}") from error
    source = bundle.model
    assert isinstance(source, Downscaler)
    unseen = unseen_of(bundle.metadata, source.config.inputs, reconstructed=True)
    if stale := [name for name in network.config.inputs if name in unseen]:
        notice(
            logger, f"Inputs that had no value in the training of {path} begin as new ones: "
            f"{', '.join(stale)}.",
        )  # fmt: skip
    matching = take if fresh is None else match
    found = matching(network, source, unseen, not pretrained_only(bundle.metadata))
    if fresh is not None:
        fresh.source, fresh.taken, fresh.options = source, found, options
    if not substance(found, network.state_dict()):
        raise SharedError(
            f"init.bundle: nothing of {path} suits the network of the config: no matrix has the "
            "same name, shape and meaning (inputs, embed_dim, num_heads, decoder_features, ...). "
            "`orbitlite info` tells what it has; leave out --init to begin with random weights"
        )
    adapt_blocks(network, options)
    kept = found.statistics if options.statistics == "keep" else {}
    origin = {"path": bundle.path, "identity": bundle.identity}
    origin |= {"task": bundle.task} if bundle.task else {}
    state, taken = network.state_dict(), found.record()
    # Without a new channel all are taken whole, in every group: processes share the groups.
    if all(rows is None or len(rows) == len(state[name]) for name, rows in taken.items()):
        taken = dict.fromkeys(taken)
    tuning = Tuning(options, origin, taken, network.config.depth, kept)
    if process_rank() == 0:
        console = Console(stderr=True)
        if not console.is_terminal:
            console.width = _WIDE
        console.print(inventory(network, source, found, tuning, decodes))
    return tuning


def go_on(
    network: Downscaler,
    options: InitConfig,
    record: Any,
    path: str,
    fitting: bool = True,
    fresh: FreshWeights | None = None,
) -> Tuning | None:
    """Return the tuning of the fit that wrote a checkpoint; the bundle is not read again.

    Parameters
    ----------
    network : Downscaler
        Adapters are added if the checkpoint has any.
    options : InitConfig
        As stated now.
    record : object
        What the checkpoint has of its beginning, None for one that began with random weights.
    path : str
        Of the checkpoint.
    fitting : bool
        Whether the fit goes on; else what is stated does not matter.
    fresh : FreshWeights, optional
        Of an outline: is told of the adapters.

    Raises
    ------
    SharedError
        If another beginning, or other adapters, are stated than the checkpoint's.
    """
    if record is None:
        if options.bundle and fitting:
            raise SharedError(
                f"init.bundle {options.bundle}: a fit goes on from {path}, which did not begin "
                "with a bundle; leave out --init, or --ckpt_path to begin anew"
            )
        return None
    had, origin, taken = _read(record, network, path)
    if fitting:
        _check_beginning(had, origin, options, path)
        had = replace(options, tune=options.tune or had.tune)
    adapt_blocks(network, had)
    if fresh is not None:
        fresh.options = had
    return Tuning(had, origin, taken, network.config.depth)


def _read(
    record: Any, network: Downscaler, path: str
) -> tuple[InitConfig, dict[str, str], dict[str, list[int] | None]]:
    """Return options, origin and what was taken, of a checkpoint that anyone may have written."""
    known = network.state_dict()
    try:
        had = InitConfig(**record["options"])
        check_init(had)
        known_of = {"task": ""} | record["origin"]
        origin = {key: str(known_of[key]) for key in ("path", "identity", "task") if known_of[key]}
        taken = {
            name: None if rows is None else [range(len(known[name]))[row] for row in rows]
            for name, rows in record["taken"].items()
        }
        if unknown := taken.keys() - known.keys():
            raise KeyError(*unknown)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise SharedError(f"{path} does not tell what its fit began with ({error})") from error
    return had, origin, taken


def _check_beginning(
    had: InitConfig, origin: Mapping[str, str], options: InitConfig, path: str
) -> None:
    """Refuse what a fit that goes on cannot change any more."""
    if options.bundle and _place(options.bundle) != _place(origin["path"]):
        raise SharedError(
            f"init.bundle {options.bundle}: a fit goes on from {path}, which began with "
            f"{origin['path']}; leave out --init, or --ckpt_path to begin anew"
        )
    if options.bundle and options.task != had.task:
        raise SharedError(
            f"init.task {options.task}: a fit goes on from {path}, which began with the task "
            f"{had.task}; leave it out, or --ckpt_path to begin anew"
        )
    if options.statistics != had.statistics:
        raise SharedError(
            f"init.statistics {options.statistics}: {path} is of a fit with {had.statistics}, "
            "whose normalisation stays; state the same, or tune its bundle"
        )
    now = replace(options, tune=options.tune or had.tune)
    ours, theirs = ((one.tune == "lora") and (one.rank, one.alpha) for one in (now, had))
    if ours != theirs:
        raise SharedError(
            f"init.tune {now.tune} (rank {now.rank}, alpha {now.alpha:g}): {path} is of a fit with "
            f"{had.tune} (rank {had.rank}, alpha {had.alpha:g}), whose weights are others; state "
            "the same, or tune its bundle"
        )


def _place(bundle: str) -> str:
    return bundle.split("@")[0] if "://" in bundle else os.path.realpath(bundle)
