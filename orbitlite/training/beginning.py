"""Beginning: a fit that begins with the weights of a bundle."""

from __future__ import annotations

from rich.console import Console

from orbitlite.errors import InputError, SharedError
from orbitlite.model.bundle import load_bundle
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel.launch import process_rank
from orbitlite.training.initialisation import substance, take
from orbitlite.training.inventory import inventory
from orbitlite.training.tuning import InitConfig, Tuning, adapt_blocks

_WIDE = 160


def begin(network: Downscaler, options: InitConfig) -> Tuning:
    """Give a network the weights of a bundle that suit it, and print what is taken, new or left.

    Parameters
    ----------
    network : Downscaler
        Whole; is changed.
    options : InitConfig
        With a bundle.

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
        bundle = load_bundle(path)
    except InputError as error:
        raise SharedError(f"init.bundle: {error}") from error
    source = bundle.model
    assert isinstance(source, Downscaler)
    found = take(network, source)
    if not substance(found, network.state_dict()):
        raise SharedError(
            f"init.bundle: nothing of {path} suits the network of the config: no matrix has the "
            "same name, shape and meaning (inputs, embed_dim, num_heads, decoder_features, ...). "
            "`orbitlite info` tells what it has; leave out --init to begin with random weights"
        )
    adapt_blocks(network, options)
    kept = found.statistics if options.statistics == "keep" else {}
    origin = {"path": path, "identity": bundle.identity}
    tuning = Tuning(options, origin, found.record(), network.config.depth, kept)
    if process_rank() == 0:
        console = Console(stderr=True)
        if not console.is_terminal:
            console.width = _WIDE
        console.print(inventory(network, source, found, tuning))
    return tuning
