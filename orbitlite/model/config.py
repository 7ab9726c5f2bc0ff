"""DownscalerConfig: what defines a network, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

from orbitlite.errors import InputError
from orbitlite.model.groups import channel_groups, plain_groups
from orbitlite.model.quadtree import check_tokens, levels_of
from orbitlite.model.ranges import (
    WHOLE,
    choice,
    names,
    number,
    options,
    pair,
    shortened,
    whole,
    word,
)
from orbitlite.model.saliency import SALIENCIES
from orbitlite.model.sharing import configs_of, conflicts_of, settings_of
from orbitlite.renamed import current
from orbitlite.suggest import did_you_mean
from orbitlite.variables import (
    VARIABLES,
    Declaration,
    declare_variables,
    declared,
    log1p_channels,
    nonnegative_channels,
)

Aggregation = Literal["attention", "linear"]
Constraint = Literal["none", "nonnegative", "conserve"]

_FREE = (
    "dropout", "channel_dropout", "tokens", "saliency", "saliency_channels", "max_leaf",
    "constraint",
)  # fmt: skip
"""Settings that may change between a checkpoint and the run that goes on from it."""
_WIDEST = 2**24
"""Hidden width of an MLP."""
_MOST_OF_RIDGE = 10**8
"""Weights of a regression."""


@dataclass(frozen=True, kw_only=True)
class DownscalerConfig:
    """Names, sizes and constraints of a `Downscaler`. Plain values only, so it prints as JSON.

    Attributes
    ----------
    inputs : sequence of str
        Channel names of the coarse fields, in the model's order. Codes of classes enter as the
        numbers that they are.
    targets : sequence of str
        Channel names of the fine fields; none that holds codes of classes, such as `soil_type`.
    statics : sequence of str
        Names of the static fields on the fine grid.
    factor : int
        Fine cells per coarse cell along one axis.
    patch_size : int
        Coarse cells per token along one axis.
    embed_dim : int
        Width `D` of a token; a multiple of `num_heads`.
    depth : int
        Number of transformer blocks; 0 leaves a purely local network.
    num_heads : int
        Attention heads.
    distances : bool
        Attention depends on how far apart two places are on the sphere as well, by two weights of
        each head and block (see `Distance`). It finds what is far much sooner so, such as what is
        opposite on the globe.
    mlp_ratio : float
        Hidden width of a block's MLP over `embed_dim`.
    dropout : float
        Dropped share of each block's branch outputs during training.
    channel_groups : int or sequence of sequence of str
        Groups that the channels are aggregated in before the groups are: a number (balanced, a
        variable's levels together) or the groups by name. One is the flat form.
    group_aggregation : {"attention", "linear"}
        How a group's channels become one token: cross-attention, or one weight per channel.
    channel_dropout : float
        Share of input channels hidden from the tokens at random, per sample, during training: it
        teaches the network to do without.
    ridge : pair of int, optional
        Height and width of the coarse grid of a region. A prediction is then the mean of what the
        network gives and a ridge regression of the whole fine field on the whole coarse one, which
        is solved before the network is trained. A stochastic network, whose members would lose half
        of their spread in a mean, corrects the regression in place of the coarse targets. It is for
        one region with few samples: the bundle serves the grid it was trained on, whole. None: no
        regression.
    tokens : int or float, optional
        Leaf budget of the spatial compression, a count or a share of the patches in (0, 1]. None:
        every patch is a token. Another budget may be given at prediction. It is that of each
        sample: a calm tile has as many leaves as a stormy one. So samples of one size make batches,
        and what a tile gives does not depend on the tiles beside it.
    saliency : str
        What decides where leaves are small: `gradient`, `variance`, `learned` (worse than `uniform`
        so far, see `LearnedSaliency`), `uniform` (nothing, for comparison), or one that is
        registered.
    saliency_channels : sequence of str, optional
        Inputs and fine statics that the saliency looks at, if it is not learned. None:
        precipitation and humidity among the inputs, and the orography.
    max_leaf : int
        Patches along one side of the largest leaf, a power of two.
    constraint : {"none", "nonnegative", "conserve"}
        `nonnegative`: the targets in `nonnegative` are kept at or above zero. `conserve`: besides,
        the area-weighted mean of the fine cells equals their coarse cell; each target must be an
        input.
    log1p : sequence of str, optional
        Channels (inputs, targets and fine statics) of zero or more that are skewed and that
        statistics, network and losses take as log(1 + x). None: those of which the table of
        variables says so.
    nonnegative : sequence of str, optional
        Targets without negative values. None: those of which the table of variables says so, and
        those in `log1p`.
    variables : mapping or str, optional
        Channels that the table of variables does not have, by name, or a YAML file that holds
        them; see `orbitlite.declare_variables` for what is stated of each. Of these and of those
        declared before, the config keeps what its channels need.
    trunk : str
        Backbone: `vit`, or one that is registered.
    decoder : str
        What makes fine fields of the trunk's tokens: `convolutional`, or one that is registered.
    decoder_features : int
        Maps F of the decoder's convolutions on the coarse grid.
    decoder_blocks : int
        Residual blocks of two convolutions there, between the tokens and the fine grid; each lets
        a prediction depend on two more coarse cells around. 0: attention alone carries what is
        around.
    noise : int
        Maps of random numbers that enter the decoder on each of its grids: the network then draws
        members of an ensemble, and is trained by a loss of several members such as `crps`. 0: it is
        deterministic.
    trunk_options : mapping, optional
        Settings of a trunk of your own, plain values by name.
    decoder_options : mapping, optional
        Settings of a decoder of your own, plain values by name.
    tasks : mapping, optional
        Several decoders on one trunk, by name: `{rain: {factor: 4}, heat: {targets:
        [2m_temperature], factor: 2}}`. Each may state targets, statics, factor, constraint,
        nonnegative and what begins with decoder; what it does not is what stands beside `tasks`.
        None: one decoder, without a name.

    Raises
    ------
    InputError
        If a value cannot be served; the message names it.
    """

    inputs: Sequence[str]
    targets: Sequence[str] = ("total_precipitation_24hr",)
    statics: Sequence[str] = ("orography", "land_sea_mask")
    factor: int = 4
    patch_size: int = 2
    embed_dim: int = 256
    depth: int = 6
    num_heads: int = 4
    distances: bool = False
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    channel_groups: int | Sequence[Sequence[str]] = 1
    group_aggregation: Aggregation = "attention"
    channel_dropout: float = 0.0
    ridge: Sequence[int] | None = None
    tokens: int | float | None = None
    saliency: str = "gradient"
    saliency_channels: Sequence[str] | None = None
    max_leaf: int = 8
    constraint: Constraint = "nonnegative"
    log1p: Sequence[str] | None = None
    nonnegative: Sequence[str] | None = None
    variables: Declaration | str | None = field(default=None, hash=False)
    trunk: str = "vit"
    decoder: str = "convolutional"
    decoder_features: int = 32
    decoder_blocks: int = 2
    noise: int = 0
    trunk_options: dict[str, Any] | None = field(default=None, hash=False)
    decoder_options: dict[str, Any] | None = field(default=None, hash=False)
    tasks: dict[str, dict[str, Any]] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if self.tasks is not None:
            self._read_tasks()
            return
        for name in ("inputs", "targets", "statics"):
            object.__setattr__(self, name, self._names(name))
        for name in WHOLE:
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        for name in ("mlp_ratio", "dropout", "channel_dropout"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        if not isinstance(self.distances, bool):
            raise InputError(f"distances: expected true or false, found {self.distances!r}")
        if self.ridge is not None:
            object.__setattr__(self, "ridge", pair("ridge", self.ridge))
        for name in ("trunk", "decoder"):
            word(name, getattr(self, name))
        for name in ("trunk_options", "decoder_options"):
            object.__setattr__(self, name, options(name, getattr(self, name)))
        channels = (*self.inputs, *self.targets, *self.statics)
        if self.variables:
            declare_variables(self.variables)
        object.__setattr__(self, "variables", declared(channels))
        if self.saliency_channels is None:
            object.__setattr__(self, "saliency_channels", self._telling())
        else:
            object.__setattr__(self, "saliency_channels", self._names("saliency_channels"))
        chosen = None if self.log1p is None else self._names("log1p")
        object.__setattr__(self, "log1p", log1p_channels(channels, chosen))
        object.__setattr__(self, "nonnegative", self._amounts())
        object.__setattr__(self, "channel_groups", plain_groups(self.channel_groups))
        self._check_targets()
        self._check_sizes()
        self._check_constraint()
        self._check_saliency()

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The process that reads it may not know the variables.
        declare_variables(state.get("variables") or {})
        self.__dict__.update(state)

    def _read_tasks(self) -> None:
        """Check a trunk with several decoders: each of them with it is a network."""
        for name, value in settings_of(self).items():
            object.__setattr__(self, name, value)
        _ = self.of_tasks

    @cached_property
    def of_tasks(self) -> dict[str, DownscalerConfig]:
        """The network of each task by its name; of a network without tasks itself, without one."""
        return {"": self} if self.tasks is None else configs_of(self)

    def _names(self, key: str) -> tuple[str, ...]:
        found = names(key, getattr(self, key))
        if not found and key in ("inputs", "targets"):
            raise InputError(f"{key}: expected at least one channel name, found none")
        return found

    def _amounts(self) -> tuple[str, ...]:
        """Return the targets that have no negative values."""
        if self.nonnegative is None:
            return nonnegative_channels(self.targets, self.log1p or ())
        chosen = self._names("nonnegative")
        for name in chosen:
            if name not in self.targets:
                hint = did_you_mean(name, self.targets)
                raise InputError(f"nonnegative: {name!r} is no target{hint}")
        return tuple(name for name in self.targets if name in chosen)

    def _telling(self) -> tuple[str, ...]:
        """Channels that show where precipitation varies; all inputs if there is none of them."""
        offered = dict.fromkeys((*self.inputs, *self.statics))
        words = ("precipitation", "humidity", "orography")
        found = tuple(name for name in offered if any(word in name for word in words))
        return found or tuple(self.inputs)

    def _check_saliency(self) -> None:
        offered = (*self.inputs, *self.statics)
        for name in self.saliency_channels or ():
            if name not in offered:
                raise InputError(
                    f"saliency_channels: {name!r} is neither an input nor a fine static"
                    f"{did_you_mean(name, offered)}"
                )

    def _check_targets(self) -> None:
        codes = [name for name in self.targets if name in VARIABLES and VARIABLES[name].classes]
        if codes:
            raise InputError(
                f"targets: {', '.join(codes)} holds codes of classes, and a network predicts "
                "amounts, between two of which lie others; take it out of targets"
            )

    def _check_sizes(self) -> None:
        if self.embed_dim % self.num_heads:
            raise InputError(
                f"embed_dim must be a multiple of num_heads; found {self.embed_dim} and "
                f"{self.num_heads}"
            )
        for name in ("dropout", "channel_dropout"):
            if not 0 <= (share := getattr(self, name)) < 1:
                raise InputError(f"{name}: expected a share in [0, 1), found {share}")
        if not 1 <= self.mlp_ratio * self.embed_dim <= _WIDEST:
            raise InputError(
                f"mlp_ratio: expected that of a hidden width of 1 to {_WIDEST}, found "
                f"{self.mlp_ratio} of embed_dim {self.embed_dim}"
            )
        choice("group_aggregation", self.group_aggregation, ("attention", "linear"))
        if self.ridge is not None and (size := self.predictors * self.responses) > _MOST_OF_RIDGE:
            raise InputError(
                f"ridge: {self.predictors} coarse by {self.responses} fine values would take "
                f"{size:,} weights, {_MOST_OF_RIDGE:,} at most; it is for one region: leave it out"
            )
        _ = self.groups
        check_tokens(self.tokens)
        levels_of(self.max_leaf)
        _ = SALIENCIES[self.saliency]

    def _check_constraint(self) -> None:
        choice("constraint", self.constraint, ("none", "nonnegative", "conserve"))
        absent = [name for name in self.targets if name not in self.inputs]
        if self.constraint == "conserve" and absent:
            raise InputError(
                "constraint conserve needs the coarse field of each target among the inputs; "
                f"add {', '.join(absent)} to inputs or choose another constraint"
            )

    @property
    def predictors(self) -> int:
        """Coarse values of a sample that the regression sees; zero without one."""
        return 0 if self.ridge is None else len(self.inputs) * math.prod(self.ridge)

    @property
    def responses(self) -> int:
        """Fine values of a sample that the regression gives; zero without one."""
        cells = 0 if self.ridge is None else math.prod(self.ridge)
        return len(self.targets) * cells * self.factor**2

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Positions in `inputs` of the channels of each group."""
        return channel_groups(self.inputs, self.channel_groups)

    def conflicts(self, other: DownscalerConfig) -> list[str]:
        """Return the settings in which the weights of the two networks differ in shape or meaning.

        Examples
        --------
        >>> rain = ["total_precipitation_24hr"]
        >>> shallow = DownscalerConfig(inputs=rain, depth=2, dropout=0.1)
        >>> shallow.conflicts(DownscalerConfig(inputs=rain, depth=4))
        ['depth']
        """
        if self.tasks is not None or other.tasks is not None:
            return conflicts_of(self, other)
        found = [
            own.name
            for own in fields(self)
            if own.name not in (*_FREE, "channel_groups")
            and getattr(self, own.name) != getattr(other, own.name)
        ]
        if self.groups != other.groups:
            found.append("channel_groups")
        if self._with_weights != other._with_weights:
            found.append("saliency")
        return found

    @property
    def _with_weights(self) -> str:
        """The saliency, if it has weights."""
        return self.saliency if SALIENCIES[self.saliency].trained else ""

    @property
    def foreign(self) -> str:
        """Trunk and decoder that are not of the package, in words; empty if both are.

        What is known of costs and of splitting over processes is of those of the package.
        """
        own = {"trunk": "vit", "decoder": "convolutional"}
        others = [f"{part} {getattr(one, part)}" for one in self.of_tasks.values()
                  for part, name in own.items() if getattr(one, part) != name]  # fmt: skip
        return " and ".join(dict.fromkeys(others))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values.

        Examples
        --------
        >>> config = DownscalerConfig(inputs=["2m_temperature"], targets=["2m_temperature"])
        >>> DownscalerConfig.from_dict(config.to_dict()) == config
        True
        """
        found = {key: _plain(value) for key, value in asdict(self).items()}
        if self.tasks is None:
            del found["tasks"]  # a network of one decoder is described as ever
        else:
            found["tasks"] = {
                name: {key: _plain(value) for key, value in own.items()}
                for name, own in self.tasks.items()
            }
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DownscalerConfig:
        """Build a config from `to_dict`'s values.

        Raises
        ------
        InputError
            If a key is unknown; the nearest one is named. If a value cannot be served.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"expected the settings of a network, found {shortened(values)}")
        values = current(values, "model.network", tell=False)
        known = {own.name for own in fields(cls)}
        for key in values:
            if key not in known:
                raise InputError(
                    f"unknown network setting {shortened(key)}{did_you_mean(key, known)}"
                )
        if "inputs" not in values:
            raise InputError("inputs are missing among the settings of the network")
        return cls(**values)

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> DownscalerConfig:
        """Build the config of a bundle or a checkpoint, as `from_dict` does.

        Raises
        ------
        InputError
            If it is of version 0.1, whose network had another decoder.
        """
        if isinstance(values, Mapping) and "decoder_features" not in values:
            raise InputError(
                "the network is of orbitlite 0.1, which had another decoder: predict with that "
                "version, or fit again"
            )
        return cls.from_dict(values)


def _plain(value: Any) -> Any:
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value
