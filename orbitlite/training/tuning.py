"""Tuning: which weights of a fit that began with a bundle learn, and how fast."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from orbitlite.errors import InputError, SharedError
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.lora import adapt, is_adapter, merged
from orbitlite.parallel.clipping import local_part
from orbitlite.parallel.folder import part_of
from orbitlite.parallel.mesh import Layout
from orbitlite.training.initialisation import DECODING

Tune = Literal["full", "head", "lora"]

_PREFIX = "network."


@dataclass(frozen=True)
class InitConfig:
    """The bundle that a fit begins with, and what of it learns.

    Attributes
    ----------
    bundle : str, optional
        Path or URL: the weights that suit the network are taken, by name. None: a network of
        random weights.
    tune : {"full", "head", "lora"}, optional
        What learns. `full`: all weights. `head`: the decoder, and what is new. `lora`: these, and
        adapters of low rank of the linear layers of the blocks. None: `full`.
    statistics : {"keep", "new"}
        Normalisation of the channels that are taken: that of the bundle, or of the data. That of
        other channels is of the data.
    rate : float
        Learning rate of weights that are taken, over that of new ones (`model.optimisation.lr`).
    decay : float
        Learning rate of a layer over that of the next: 1 for the decoder, `decay` for the last
        block, its square for the block before it, and so on to the channels.
    rank : int
        Rank of the adapters.
    alpha : float
        What the adapters count for: alpha / rank.
    task : str, optional
        Which of several tasks of the bundle; of the others nothing is taken.
    """

    bundle: str | None = None
    tune: Tune | None = None
    statistics: Literal["keep", "new"] = "keep"
    rate: float = 0.3
    decay: float = 0.8
    rank: int = 4
    alpha: float = 8.0
    task: str | None = None


_RANGES: dict[str, tuple[str, Any]] = {
    "rate": ("a ratio of more than 0, 1 at most", lambda value: 0 < value <= 1),
    "decay": ("a ratio of more than 0, 1 at most", lambda value: 0 < value <= 1),
    "rank": ("1 or more", lambda value: value >= 1),
    "alpha": ("more than 0", lambda value: 0 < value < math.inf),
}


def check_init(options: InitConfig) -> None:
    """Refuse values that cannot be, and options of fine-tuning where there is nothing to tune.

    Raises
    ------
    SharedError
        The message names the option.
    """
    for name, (expected, good) in _RANGES.items():
        if not good(value := getattr(options, name)):
            raise SharedError(f"init.{name}: expected {expected}, found {value}")
    if options.bundle == "":
        raise SharedError("init.bundle: expected the path or URL of a bundle, found none")
    if options.bundle is None:
        for own in fields(options):
            if (value := getattr(options, own.name)) != own.default:
                raise SharedError(
                    f"init.{own.name} {value}: there is nothing to tune; state the bundle that the "
                    "fit is to begin with, --init BUNDLE"
                )


@dataclass
class Tuning:
    """What a fit began with, and what learns of it.

    Attributes
    ----------
    options : InitConfig
    origin : dict of str to str
        Of the bundle: `path`, `identity`, the first digits of the SHA-256 of its weights, and
        `task`, if it has several.
    taken : dict of str to list of int, optional
        Weights of the network that were taken, and which rows; None: all.
    depth : int
        Blocks of the network.
    statistics : dict of str to dict
        Rows of the normalisation that are kept, when the fit begins.
    """

    options: InitConfig
    origin: dict[str, str]
    taken: dict[str, list[int] | None]
    depth: int
    statistics: dict[str, dict[int, float]] = field(default_factory=dict)

    @property
    def tune(self) -> Tune:
        """What learns."""
        return self.options.tune or "full"

    def rate(self, name: str) -> float:
        """Return the learning rate of a weight over that of the fit; zero: it does not learn.

        Of a weight of which rows are new, that of these.
        """
        name = name.removeprefix(_PREFIX)
        if name in self.taken and self.taken[name] is None:
            return self.rate_of_taken(name)
        return 1.0

    def rate_of_taken(self, name: str) -> float:
        """Return the same of what of a weight is taken."""
        level = _level(name.removeprefix(_PREFIX), self.depth)
        if level and self.tune != "full":
            return 0.0
        return self.options.rate * self.options.decay**level

    def freeze(self, network: Downscaler) -> None:
        """Let the weights whose rate is zero not learn."""
        for name, weight in network.named_parameters():
            weight.requires_grad_(self.rate(name) > 0)

    def slow_rows(
        self, optimizer: torch.optim.Optimizer, named: Iterable[tuple[str, nn.Parameter]]
    ) -> None:
        """Let rows that are taken, of weights of which others are new, learn at their own rate.

        A step of AdamW is in proportion to the rate: such a row goes that share of the way.
        """
        shares: list[tuple[nn.Parameter, Tensor]] = []
        for name, weight in named:
            if rows := self.taken.get(name.removeprefix(_PREFIX)):
                share = torch.ones(weight.shape)
                share[rows] = self.rate_of_taken(name)
                shares.append((weight, local_part(part_of(share, weight.detach()))))
        held: list[Tensor] = []

        def before(*_: Any) -> None:
            held[:] = [local_part(weight.detach()).clone() for weight, _ in shares]

        @torch.no_grad()
        def after(*_: Any) -> None:
            for (weight, share), old in zip(shares, held, strict=True):
                own = local_part(weight.detach())
                own.copy_(old + share * (own - old))

        optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(after)

    def keep_statistics(self, network: Downscaler) -> None:
        """Put the normalisation of the bundle in the place of that of the data."""
        for name, rows in self.statistics.items():
            buffer = network.get_buffer(name)
            known = torch.tensor(list(rows.values()), dtype=buffer.dtype, device=buffer.device)
            buffer[list(rows)] = known

    def check_layout(self, sizes: Layout) -> None:
        """Refuse processes that cannot share adapters.

        Raises
        ------
        SharedError
        """
        if self.tune == "lora" and sizes.tensor > 1:
            raise SharedError(
                f"parallel.tensor {sizes.tensor}: adapters (init.tune lora) are not split over "
                "processes; state parallel.tensor 1, or another init.tune"
            )

    def record(self) -> dict[str, Any]:
        """Return all that a fit that goes on has to know, as plain values."""
        own = asdict(self.options) | {"bundle": self.origin["path"], "tune": self.tune}
        if self.options.task is None:
            del own["task"]
        return {"options": own, "origin": self.origin, "taken": self.taken}

    def told(self) -> dict[str, str]:
        """Return what a bundle tells of it."""
        return self.origin | {"tune": self.tune}


def adapt_blocks(
    network: Downscaler, options: InitConfig, device: torch.device | None = None
) -> None:
    """Add adapters if that is how it is tuned, on the device of the blocks or another.

    Raises
    ------
    SharedError
        If the network has no blocks.
    """
    if options.tune != "lora":
        return
    if network.config.trunk != "vit" or not network.config.depth:
        found = "depth 0" if network.config.trunk == "vit" else f"the trunk {network.config.trunk}"
        raise SharedError(
            "init.tune lora adapts the linear layers of the transformer blocks of the trunk vit, "
            f"and the network has none ({found}); state full or head"
        )
    if options.rank > (width := network.config.embed_dim):
        raise SharedError(f"init.rank: expected 1 to embed_dim {width}, found {options.rank}")
    adapt(network, options.rank, options.alpha, device)


def without_adapters(weights: Mapping[str, Tensor], record: Any) -> dict[str, Tensor]:
    """Return the weights of a checkpoint's network as an ordinary network has them."""
    if not any(map(is_adapter, weights)):
        return dict(weights)
    try:
        return merged(weights, record["options"]["rank"], record["options"]["alpha"])
    except (KeyError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise InputError(f"the checkpoint does not tell how to merge its adapters: {error}") from (
            error
        )


def _level(name: str, depth: int) -> int:
    """Return how many layers stand between a weight and the decoder, this one included."""
    if name.startswith(DECODING):
        return 0
    part, _, rest = name.partition(".")
    if part == "blocks":
        return depth - int(rest.partition(".")[0])
    return 1 if part in ("norm", "trunk") else depth + 1
