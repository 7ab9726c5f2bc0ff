"""VisionTransformer: the trunk of many channels, with spatial compression."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.channels import HierarchicalChannels, to_patches
from orbitlite.model.columns import Columns
from orbitlite.model.compression import Compression, unpool
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.cost import Cost, Pass, cost_of
from orbitlite.model.distance import harmonics
from orbitlite.model.position import SpherePosition
from orbitlite.model.quadtree import Leaves
from orbitlite.model.saliency import MaskedFields
from orbitlite.model.transformer import Block, Blocks
from orbitlite.model.trunk import TRUNKS, Seen, Trunk


@TRUNKS.register("vit")
class VisionTransformer(Trunk):
    """Channel attention per patch, position on the sphere, compression, transformer blocks.

    Parameters
    ----------
    config : DownscalerConfig
    groups : sequence of int, optional
        Channel groups whose parameters this instance holds; None: all. Something else has to bring
        in the tokens of the other groups.

    Attributes
    ----------
    columns : list of int
        Positions in `config.inputs` of the channels of the held groups, the coarse targets, and
        what the saliency looks at.
    """

    takes_budget = True

    def __init__(self, config: DownscalerConfig, groups: Sequence[int] | None = None) -> None:
        super().__init__(config)
        self.config = config
        self.channels = HierarchicalChannels(
            config.groups, config.patch_size**2, config.embed_dim, config.num_heads,
            config.group_aggregation, groups,
        )  # fmt: skip
        looked_at = config.saliency_channels or ()
        needed = {*config.targets, *(looked_at if config.tokens else ())}
        others = {i for i, name in enumerate(config.inputs) if name in needed}
        self.columns = sorted({*self.channels.columns, *others})
        self.embedded = Columns([self.columns.index(column) for column in self.channels.columns])
        names = [config.inputs[column] for column in self.columns]
        self.salient = Columns([i for i, name in enumerate(names) if name in looked_at])
        self.position = SpherePosition(config.embed_dim)
        self.compression = Compression(config)
        self.blocks = Blocks(
            Block(
                config.embed_dim, config.num_heads, config.mlp_ratio, config.dropout,
                config.distances,
            )
            for _ in range(config.depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(config.embed_dim)

    def forward(self, seen: Seen) -> Tensor:
        """Return the tokens (B, 1, h, w, D)."""
        z, patches = self._embed(seen.shown), seen.geometry.patches(self.config.patch_size)
        features = patches.features()
        here = z + self.position(features).flatten(1, 2)
        features = features.flatten(1, 2)
        x, counts, leaves = here, None, None
        if seen.budget is not None:
            x, counts, leaves = self.compression(
                z,
                self.position,
                self._salient_fields(seen),
                patches,
                seen.borders.wraps,
                seen.budget,
            )
            features = patches.features_of_leaves(leaves)
        places = harmonics(features) if self.config.distances else None
        x = self.norm(self.blocks(x, counts, places))
        # The skip keeps the size of the anomalies, which the norm takes away, and the detail of
        # patches that share a leaf.
        x = (x if leaves is None else unpool(x, leaves)) + here
        whole: Tensor = x.view(len(x), 1, *patches.shape, x.shape[-1])
        return whole

    def leaves(self, seen: Seen) -> tuple[Leaves, Tensor]:
        """Return the leaves for the budget, and the saliency (B, h, w) that they come from."""
        assert seen.budget is not None
        found, score, _ = self.compression.leaves(
            self._embed(seen.whole), self._salient_fields(seen),
            seen.geometry.patches(self.config.patch_size), seen.borders.wraps, seen.budget,
        )  # fmt: skip
        return found, score

    def costs(self, size: Pass) -> dict[str, Cost]:
        """State what a training pass takes, by stage.

        Returns
        -------
        dict of str to Cost
            `channels` (with positions and compression), `blocks`, `rest` (what is behind them).
        """
        channels = self.channels.cost(size) + self.position.cost(size, size.patches)
        if size.counted:
            channels += self.compression.cost(size) + self.position.cost(size, size.tokens)
        blocks = Cost()
        for block in self.blocks:
            blocks += cost_of(block, size)
        norm = size.batch * size.tokens * self.config.embed_dim * size.wide
        return {"channels": channels, "blocks": blocks, "rest": Cost(saved=norm)}

    def _embed(self, fields: MaskedFields) -> Tensor:
        """Return one token per patch, (B, L, D), without position."""
        values, valid = self.embedded(fields.values), self.embedded(fields.valid)
        p = self.config.patch_size
        values, valid = _on_whole_patches(values, p), _on_whole_patches(valid, p)
        out: Tensor = self.channels(to_patches(values, p), to_patches(valid, p).sum(dim=-1) / p**2)
        return out

    def _salient_fields(self, seen: Seen) -> list[MaskedFields]:
        """Pick what the saliency looks at, on the coarse and on the fine grid."""
        found = []
        for fields, columns in ((seen.whole, self.salient), (seen.statics, seen.salient)):
            if fields is not None and columns is not None and len(columns):
                cells = fields.cells * self.config.patch_size
                values, valid = columns(fields.values), columns(fields.valid)
                values, valid = _on_whole_patches(values, cells), _on_whole_patches(valid, cells)
                found.append(MaskedFields(values, valid, cells))
        return found


def _on_whole_patches(fields: Tensor, cells: int) -> Tensor:
    """Pad fields (B, C, H, W) in the south and east with what is missing."""
    height, width = fields.shape[-2:]
    return F.pad(fields, (0, -width % cells, 0, -height % cells))
