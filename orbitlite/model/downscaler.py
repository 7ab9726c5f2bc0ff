"""Downscaler: the network, physical units in and out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.base import Base, TargetNorm
from orbitlite.model.borders import Borders
from orbitlite.model.channels import HierarchicalChannels
from orbitlite.model.columns import Columns
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.constraint import conserve, nonnegative
from orbitlite.model.cost import Cost, Pass, cost_of
from orbitlite.model.decoder import DECODERS, Decoder
from orbitlite.model.frame import Frame
from orbitlite.model.geometry import Geometry
from orbitlite.model.noise import Draw, Noise
from orbitlite.model.presence import Presence
from orbitlite.model.quadtree import Leaves
from orbitlite.model.reconstruction import Reconstructed, ReconstructionHead, concealed
from orbitlite.model.ridge import Ridge
from orbitlite.model.saliency import MaskedFields
from orbitlite.model.transform import log1p
from orbitlite.model.transformer import Blocks
from orbitlite.model.trunk import TRUNKS, Seen, Trunk
from orbitlite.model.vit import VisionTransformer

__all__ = ["Downscaler", "DownscalerConfig"]

_SIZES = 0.5, 2.0
"""Least and most of what noise is multiplied by in predictions."""
_STATISTICS = ("input_mean", "input_std", "target_mean", "target_std", "static_mean", "static_std")


class Downscaler(nn.Module):
    """From coarse to fine fields: what all networks share, around a trunk and a decoder.

    Statistics and normalisation (`forward` takes and gives physical units), the interpolated coarse
    targets as the base, of which a gain and an offset make the fine fields, the output constraint,
    and what is missing.

    Parameters
    ----------
    config : DownscalerConfig
    groups : sequence of int, optional
        Channel groups whose parameters this instance holds; None: all. It then takes the channels
        `inputs` alone, and something else has to bring in the tokens of the other groups.
    shared : Module, optional
        What holds the trunk and the normalisation of the inputs for this network and others
        (`model/tasks.py`): an attribute `trunk`, and the buffers. None: they are its own.

    Attributes
    ----------
    inputs : list of str
        Channels that `forward` takes, in order: those that the trunk is given. Of held groups:
        theirs, the coarse targets, and what the saliency looks at.
    columns : list of int
        Their positions in `config.inputs`.
    trunk : Trunk
    decoder : Decoder
    presence : Presence
        Tells where the inputs say something of a target.

    Examples
    --------
    >>> config = DownscalerConfig(
    ...     inputs=["total_precipitation_24hr", "2m_temperature"], factor=2,
    ...     embed_dim=32, depth=1)
    >>> batch = Batch(
    ...     coarse=torch.rand(1, 2, 6, 7), statics=torch.rand(1, 2, 12, 14),
    ...     lat_edges=torch.linspace(46, 40, 7)[None], lon_edges=torch.linspace(3, 10, 8)[None])
    >>> Downscaler(config)(batch).shape
    torch.Size([1, 1, 1, 12, 14])
    """

    log_target: Tensor
    trunk: Trunk
    channels: HierarchicalChannels
    blocks: Blocks
    """These two are of the trunk `vit`."""

    def __init__(
        self,
        config: DownscalerConfig,
        groups: Sequence[int] | None = None,
        shared: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.__dict__["shared"] = shared  # no part of this one
        counts = {
            "input": len(config.inputs),
            "target": len(config.targets),
            "static": len(config.statics),
        }
        for name in _STATISTICS if shared is None else _STATISTICS[2:]:
            count = counts[name.split("_")[0]]
            fill = torch.zeros if name.endswith("mean") else torch.ones
            self.register_buffer(name, fill(count))
        log_transformed = set(config.log1p or ())
        self._hold(config, groups)
        self.columns = list(self.trunk.columns)
        self.inputs = [config.inputs[column] for column in self.columns]
        self._own = Columns(self.columns)
        self._log_inputs, self._log_statics = (
            Columns([i for i, name in enumerate(names) if name in log_transformed])
            for names in (self.inputs, config.statics)
        )
        flags = torch.tensor([name in log_transformed for name in config.targets])
        self.register_buffer("log_target", flags, persistent=False)
        flags = torch.tensor([name in (config.nonnegative or ()) for name in config.targets])
        self.register_buffer("nonnegative_target", flags, persistent=False)
        looked_at = config.saliency_channels or ()
        self._salient = Columns([i for i, name in enumerate(config.statics) if name in looked_at])
        self.presence = Presence(self.inputs, config.targets, config.patch_size)
        # Smooth fields call for bicubic interpolation, rough ones for bilinear.
        self.blend = nn.Parameter(torch.full((counts["target"],), 0.5))
        context = 4 * counts["target"] + counts["static"]
        self.decoder: Decoder = DECODERS.built(
            config.decoder, config.decoder_options, config, context
        )
        if config.noise:
            _check_noise(self.trunk, self.decoder, config)
            self.register_buffer("noise_size", torch.ones(()))
        self.ridge = None if config.ridge is None else Ridge(config.predictors, config.responses)
        self.reconstruction: ReconstructionHead | None = None  # of a fit that learns without truth

    def _hold(self, config: DownscalerConfig, groups: Sequence[int] | None) -> None:
        """Build the trunk, as a whole or for some of the channel groups, or take the shared one."""
        shared: Any = self.__dict__["shared"]
        if shared is not None:
            self.__dict__["trunk"] = shared.trunk
            return
        parts = () if groups is None else (groups,)
        trunk: Trunk = TRUNKS.built(config.trunk, config.trunk_options, config, *parts)
        if config.tokens is not None:
            _check_budgets(trunk, config)
        if not isinstance(trunk, VisionTransformer):
            self.trunk = trunk
            return
        # Its weights are called as in every bundle and checkpoint: its parts are the network's own.
        for name, part in trunk.named_children():
            self.add_module(name, part)
        self.__dict__["trunk"] = trunk

    @property
    def members(self) -> int:
        """Members M that a prediction has by itself, whatever is drawn."""
        return self.trunk.members * self.decoder.members

    @property
    def stochastic(self) -> bool:
        """Whether members are drawn: as many as are asked for."""
        return self.config.noise > 0

    def calibrate(self, spread_skill: Sequence[float]) -> None:
        """Make the noise of predictions larger where members were found too alike, or smaller.

        A network errs more on what it has not seen than on what it has learned its spread from. The
        spread is about proportional to the noise: once or twice on the validation period, and the
        ratio there is one.

        Parameters
        ----------
        spread_skill : sequence of float
            Of each target, spread of the members over the error of their mean, as found with the
            noise as it is.
        """
        known = [ratio for ratio in spread_skill if math.isfinite(ratio) and ratio > 0]
        if known:
            mean = math.exp(sum(map(math.log, known)) / len(known))
            size = self.get_buffer("noise_size")
            size.copy_((size / mean).clamp(*_SIZES))

    def set_statistics(self, **statistics: Any) -> None:
        """Set normalisation statistics of the transformed values.

        Parameters
        ----------
        **statistics : array-like
            Any of `input_mean`, `input_std` (C,), `target_mean`, `target_std` (K,),
            `static_mean`, `static_std` (S,). Those of the inputs may be of `inputs` alone.

        Raises
        ------
        InputError
            If a value is not finite, or a standard deviation is not positive.
        """
        for name, value in statistics.items():
            buffer = self._statistic(name)
            new = torch.as_tensor(value, dtype=buffer.dtype).flatten()
            part = name.startswith("input") and len(new) == len(self.columns)
            rows = self.columns if part else list(range(len(buffer)))
            if not bool(torch.isfinite(new).all()):
                raise InputError(f"{name}: expected finite statistics, found {new.tolist()}")
            if name.endswith("std") and not bool((new > 0).all()):
                raise InputError(f"{name}: expected positive values, found {new.tolist()}")
            buffer[rows] = new.to(buffer.device)

    def forward(
        self,
        batch: Batch,
        tokens: int | float | None = None,
        fill: bool = False,
        draw: Draw | None = None,
    ) -> Tensor:
        """Predict.

        Parameters
        ----------
        batch : Batch
            `coarse` (B, C, H, W), its places (`lat_edges` and `lon_edges`, or `corners`) and, if
            the model has fine statics, `statics` (B, S, fH, fW). Members depend on `time`.
        tokens : int or float, optional
            Leaf budget in place of the config's: a count, or a share of the patches.
        fill : bool
            Predict cells of which the inputs say nothing too (see `Presence`), from what is
            usual and from their surroundings.
        draw : Draw, optional
            Members that a stochastic network is to draw. None: the first of seed 0.

        Returns
        -------
        Tensor of shape (B, M, K, f h, f w)
            Targets in physical units, M = `members`, or those drawn; NaN in cells of which the
            inputs say nothing, unless filled. Of the core, h x w coarse cells, if the batch has
            one.

        Raises
        ------
        InputError
            If the budget does not fit the grid.
        """
        self._check(batch)
        seen = self._seen(batch, tokens)
        norm = self.norm_of_targets
        base = Base.of(
            self._coarse_targets(batch), self.config.factor, seen.borders.wraps, norm, self.blend
        )
        if self.ridge is not None and self.stochastic:
            regression = batch.regression
            if regression is None:
                regression = self.ridge(batch.coarse).view_as(base.values)
            base = base.beginning_at(regression, norm, self.config.factor)
        context = base.maps
        if seen.statics is not None:
            context = torch.cat([context, seen.statics.values], dim=1)
        noise = self._noise(batch, seen, draw or Draw.of()) if self.stochastic else None
        frame = Frame.of(batch)
        corrections = self._decode(self._encode(seen), context, seen.borders, noise, frame)
        gain, offset = corrections.chunk(2, dim=2)
        base = base.cut(frame.finer(self.config.factor))
        fine = base.corrected(gain, offset, norm, self.config.factor)
        fine = self.constrain(batch, fine, base.unit[:, None])
        if self.ridge is not None and not self.stochastic and not self.training:
            fine = self._with_regression(batch, fine)
        return fine if fill else torch.where(self.known(batch)[:, None], fine, torch.nan)

    def known(self, batch: Batch) -> Tensor:
        """Tell the fine cells of which the inputs say something, (B, K, f h, f w), bool."""
        cells = Frame.of(batch).cut(self.presence(batch.coarse))
        f = self.config.factor
        return cells.repeat_interleave(f, -2).repeat_interleave(f, -1)

    def reconstruct(self, batch: Batch, hidden: Tensor) -> Reconstructed:
        """Predict the inputs from those that are not `hidden`, (B, C, H, W), bool."""
        assert self.reconstruction is not None
        seen = self._seen(concealed(batch, hidden), None)
        seen = replace(seen, shown=seen.whole)  # what is hidden was chosen
        shape = (int(batch.coarse.shape[-2]), int(batch.coarse.shape[-1]))
        prediction: Tensor = self.reconstruction(self._encode(seen), shape)
        return Reconstructed(prediction, self._normalise(batch.coarse))

    def encode(self, batch: Batch, tokens: int | float | None = None) -> Tensor:
        """Return the tokens (B, M, h, w, D) of the patches."""
        return self._encode(self._seen(batch, tokens))

    def _encode(self, seen: Seen) -> Tensor:
        x: Tensor = self.trunk(seen)
        size, config = seen.shown.values.shape, self.config
        h, w = (-(-cells // config.patch_size) for cells in size[-2:])
        expected = (size[0], self.trunk.members, h, w, config.embed_dim)
        if tuple(x.shape) != expected:
            raise ValueError(
                f"the trunk {config.trunk} should give tokens (B, M, h, w, D) of shape {expected}, "
                f"found {tuple(x.shape)}"
            )
        return x

    def _noise(self, batch: Batch, seen: Seen, draw: Draw) -> Noise:
        noise = Noise.of(draw, batch, seen.geometry)
        return noise if self.training else noise.times(self.get_buffer("noise_size"))

    def _decode(
        self,
        tokens: Tensor,
        context: Tensor,
        borders: Borders,
        noise: Noise | None,
        frame: Frame,
    ) -> Tensor:
        """Return gains and offsets (B, M, 2 K, f h, f w)."""
        members = tokens.shape[1]
        more: dict[str, Any] = {} if noise is None else {"noise": noise}

        def for_each(part: Tensor) -> Tensor:
            return part[:, None].expand(-1, members, *part.shape[1:]).flatten(0, 1)

        around = Borders(*map(for_each, borders))
        each = replace(frame, first=for_each(frame.first))
        if self.decoder.takes_frame:
            more["frame"] = each
        out: Tensor = self.decoder(tokens.flatten(0, 1), for_each(context), around, **more)
        out = out.float()
        if not self.decoder.takes_frame:
            made = each.finer(self.config.factor).cut(out.flatten(1, 2))
            out = made.view(*out.shape[:3], *made.shape[-2:])
        return out.view(-1, members * out.shape[1], *out.shape[2:])

    def costs(self, size: Pass) -> dict[str, Cost]:
        """State what a training pass takes, by stage.

        Returns
        -------
        dict of str to Cost
            `batch` (fields and what is made of them before anything is learned), the stages of the
            trunk, `decoder`.

        Raises
        ------
        Unstated
            If a part does not state what it takes.
        """
        targets, statics = len(self.config.targets), len(self.config.statics)
        # Coarse fields, their presence and their standardised values; truth, statics, context.
        coarse = size.batch * size.height * size.width * len(self.config.inputs) * (4 + 1 + 4)
        core = size.part(1, 0)
        fields = coarse + size.fine_cells() * (4 * targets + 2 * statics) * 4
        fields += core.fine_cells() * targets * 4
        # Bend, anomaly and unit; gain and offset as given and as bounded, with three hyperbolic
        # tangents; what the constraint changes.
        maps = 10 + {"none": 0, "conserve": 4}.get(self.config.constraint, 2)
        decoder = cost_of(self.decoder, size) + Cost(
            saved=core.drawn.fine_cells() * targets * maps * 4
        )
        return {"batch": Cost(saved=fields), **self.trunk.costs(size), "decoder": decoder}

    def leaves(self, batch: Batch, tokens: int | float) -> tuple[Leaves, Tensor]:
        """Return the leaves of a batch for a budget, and the saliency (B, h, w) they come from."""
        return self.trunk.leaves(self._seen(batch, tokens))

    def _seen(self, batch: Batch, tokens: int | float | None) -> Seen:
        """Standardise the inputs and the fine statics, and hide channels if configured."""
        if tokens is not None:
            _check_budgets(self.trunk, self.config)
        geometry = Geometry.of(batch)
        whole = MaskedFields(self._normalise(batch.coarse), torch.isfinite(batch.coarse), 1)
        return Seen(
            self._show(whole), whole, self._statics(batch), geometry, geometry.borders,
            self.config.tokens if tokens is None else tokens, self._salient,
        )  # fmt: skip

    def _show(self, fields: MaskedFields) -> MaskedFields:
        """Hide channels at random during training, if the config says so."""
        share = self.config.channel_dropout
        if not (self.training and share):
            return fields
        # Drawn for all channels, so that it does not depend on which of them are held.
        shape = len(fields.values), len(self.config.inputs), 1, 1
        kept = self._own(torch.rand(shape, device=fields.values.device)) >= share
        return MaskedFields(fields.values * kept, fields.valid & kept, fields.cells)

    def _with_regression(self, batch: Batch, fine: Tensor) -> Tensor:
        """Return the mean of (B, M, K, fH, fW) and the regression, alike for all members.

        Trained apart, the two err apart: the mean is better than either. The network must not
        learn beside the regression, whose errors on its own training samples are too small.
        """
        assert self.ridge is not None
        amount = self.get_buffer("nonnegative_target")[:, None, None]
        solved = self.ridge(batch.coarse).view_as(fine[:, 0])
        solved = torch.where(amount, solved.clamp_min(0), solved)
        mean = (fine + solved[:, None]) / 2
        return self._conserved(batch, mean) if self.config.constraint == "conserve" else mean

    def _statics(self, batch: Batch) -> MaskedFields | None:
        """Standardise the fine statics."""
        if batch.statics is None or not self.config.statics:
            return None
        centre, spread = self.get_buffer("static_mean"), self.get_buffer("static_std")
        values = _standardise(batch.statics, self._log_statics, centre, spread)
        return MaskedFields(values, torch.isfinite(batch.statics), self.config.factor)

    @property
    def norm_of_targets(self) -> TargetNorm:
        """Statistics of the targets."""
        return TargetNorm(
            self.get_buffer("target_mean"), self.get_buffer("target_std"), self.log_target,
            self.get_buffer("nonnegative_target"),
        )  # fmt: skip

    @property
    def target_scale(self) -> Tensor:
        """Typical size of a change of each target, in physical units, shape (K,)."""
        return self.norm_of_targets.scale

    def _normalise(self, coarse: Tensor) -> Tensor:
        """Transform and scale the inputs; missing cells become zero."""
        return _standardise(coarse, self._log_inputs, *self._input_statistics())

    def _input_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the transformed `inputs`."""
        mean, std = self._statistic("input_mean"), self._statistic("input_std")
        return self._own(mean, 0), self._own(std, 0)

    def _statistic(self, name: str) -> Tensor:
        """Return the buffer of a statistic, which may be shared."""
        shared: nn.Module | None = self.__dict__["shared"]
        own = shared is None or not name.startswith("input")
        return self.get_buffer(name) if own else shared.get_buffer(name)  # type: ignore[union-attr]

    def _coarse_targets(self, batch: Batch) -> Tensor:
        """Pick the coarse field of each target; NaN where it is no input."""
        names = self.inputs
        missing = torch.full_like(batch.coarse[:, 0], torch.nan)
        columns = [
            batch.coarse[:, names.index(name)] if name in names else missing
            for name in self.config.targets
        ]
        return torch.stack(columns, dim=1)

    def constrain(self, batch: Batch, fine: Tensor, unit: Tensor) -> Tensor:
        """Apply the output constraint to every member of (B, M, K, fH, fW)."""
        constraint = self.config.constraint
        if constraint == "none":
            return fine
        amount = self.get_buffer("nonnegative_target")[:, None, None]
        fine = torch.where(amount, nonnegative(fine, unit), fine)
        if constraint == "nonnegative":
            return fine
        return self._conserved(batch, fine)

    def _conserved(self, batch: Batch, fine: Tensor) -> Tensor:
        """Give the coarse cells of (B, M, K, fH, fW) their coarse amounts."""
        amount = self.get_buffer("nonnegative_target")[:, None, None]
        shares = Geometry.of_core(batch).shares(self.config.factor)
        coarse = Frame.of(batch).cut(self._coarse_targets(batch))[:, None]
        scaled = conserve(fine, coarse, shares, self.config.factor, scale=True)
        shifted = conserve(fine, coarse, shares, self.config.factor, scale=False)
        return torch.where(amount, scaled, shifted)

    def _check(self, batch: Batch) -> None:
        config = self.config
        if batch.coarse.shape[1] != len(self.inputs):
            raise ValueError(
                f"expected {len(self.inputs)} channels in batch.coarse, found "
                f"{batch.coarse.shape[1]}"
            )
        height, width = batch.coarse.shape[-2:]
        expected = (len(config.statics), height * config.factor, width * config.factor)
        if config.statics and batch.statics is None:
            raise ValueError(f"the model needs statics of shape (B, {expected})")
        if config.statics and tuple(batch.statics.shape[1:]) != expected:  # type: ignore[union-attr]
            raise ValueError(
                f"expected statics of shape (B, {expected}), found {tuple(batch.statics.shape)}"  # type: ignore[union-attr]
            )


def _standardise(x: Tensor, log: Columns, mean: Tensor, std: Tensor) -> Tensor:
    """Return (x - mean) / std of (B, C, ...) with zeros where x is missing; `log`: after log1p."""
    x = torch.nan_to_num(x, nan=torch.nan, posinf=torch.nan, neginf=torch.nan)
    if len(log):
        x = x.index_copy(1, log.numbers, log1p(log(x)))
    value = (x - mean[:, None, None]) / std[:, None, None]
    return torch.nan_to_num(value, nan=0.0)


def _check_budgets(trunk: Trunk, config: DownscalerConfig) -> None:
    if not trunk.takes_budget:
        raise InputError(f"tokens: the trunk {config.trunk} takes no leaf budget; leave tokens out")


def _check_noise(trunk: Trunk, decoder: Decoder, config: DownscalerConfig) -> None:
    if not decoder.takes_noise:
        raise InputError(f"noise: the decoder {config.decoder} takes none; leave noise out")
    parts: dict[str, Trunk | Decoder] = {
        f"trunk {config.trunk}": trunk, f"decoder {config.decoder}": decoder,
    }  # fmt: skip
    for name, part in parts.items():
        if part.members > 1:
            raise InputError(f"noise: the {name} draws members by itself; leave noise out")
