"""Parts as a user writes them, in a module of their own; nothing of the package is changed."""

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from torch import nn

from orbitlite.data.reader import READERS
from orbitlite.model.decoder import DECODERS, FineDecoder
from orbitlite.model.saliency import SALIENCIES, Saliency
from orbitlite.model.trunk import TRUNKS, Trunk
from orbitlite.training.losses import LOSSES
from orbitlite.verification.baselines import BASELINES, interpolate
from orbitlite.verification.score import SCORES, Entry, Score


def twice(before, after):
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.GELU(),
        nn.Conv2d(after, after, 3, padding=1), nn.GELU(),
    )  # fmt: skip


@TRUNKS.register("unet")
class UNet(Trunk):
    """Two levels down and up again, on cells; patches are averaged at the end."""

    def __init__(self, config, *, widths=(8, 16)):
        super().__init__(config)
        first, second = widths
        self.patch = config.patch_size
        self.down = twice(2 * len(config.inputs), first)
        self.deep = twice(first, second)
        self.up = twice(first + second, config.embed_dim)

    def forward(self, seen):
        x = torch.cat([seen.shown.values, seen.shown.valid.float()], dim=1)
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % (2 * self.patch), 0, -height % (2 * self.patch)))
        fine = self.down(x)
        deep = self.deep(F.avg_pool2d(fine, 2))
        x = self.up(torch.cat([fine, F.interpolate(deep, scale_factor=2)], dim=1))
        tokens = F.avg_pool2d(x, self.patch)
        h, w = -(-height // self.patch), -(-width // self.patch)
        return tokens[..., :h, :w].permute(0, 2, 3, 1).unsqueeze(1)


@DECODERS.register("two_draws")
class TwoDraws(FineDecoder):
    """Two members: the offsets of the convolutional decoder, plus and minus a spread."""

    members = 2

    def __init__(self, config, context, *, spread=0.5):
        super().__init__(config, context)
        self.spread = nn.Parameter(torch.tensor(spread))

    def forward(self, tokens, context, borders):
        one = super().forward(tokens, context, borders)
        noise = self.spread * torch.randn_like(one)
        return torch.cat([one + noise, one - noise], dim=1)


@SALIENCIES.register("northern")
class Northern(Saliency):
    """Small leaves in the north."""

    def forward(self, tokens, fields, area, wraps):
        rows = torch.linspace(1, 0.1, area.shape[1], device=area.device)
        return (rows[:, None] ** 8).expand(area.shape)


@LOSSES.register("spread")
def crps(fields):
    """CRPS of the members, e.g. Gneiting and Raftery 2007, equation 21, without self-pairs."""
    p = fields.prediction
    m = p.shape[1]
    apart = (p[:, :, None] - p[:, None]).abs().sum((1, 2)) / max(1, 2 * m * (m - 1))
    return fields.mean(((p - fields.truth).abs().mean(1) - apart)[:, None])


@SCORES.register("largest_error")
class LargestError(Score):
    """Largest absolute error."""

    entries = {"largest_error": Entry("Largest error", "low", "data")}  # noqa: RUF012

    def __init__(self):
        self.largest = float("nan")

    def update(self, prediction, truth, weights):
        errors = (prediction - truth).abs()[weights > 0]
        if errors.numel():
            self.largest = float(np.fmax(self.largest, float(errors.max())))

    def compute(self):
        return {"largest_error": self.largest}


@BASELINES.register("blended")
def blended(coarse, factor, wraps, nonnegative):
    """Mean of the nearest and the bilinear field."""
    fields = [interpolate(coarse, factor, wraps, mode) for mode in ("nearest", "bilinear")]
    return (fields[0] + fields[1]) / 2


@READERS.register("table")
class Table:
    """Text: rows of day, latitude, longitude and millimetres."""

    def matches(self, place):
        return place.ends(".table")

    def open(self, place):
        frame = np.genfromtxt(place.local(), names=True, dtype=None, encoding="utf-8")
        days, lat, lon = (np.unique(frame[name]) for name in ("day", "lat", "lon"))
        values = frame["mm"].reshape(len(days), len(lat), len(lon)).astype("f4")
        attributes = {"units": "mm", "cell_methods": "time: sum"}
        return [
            xr.Dataset(
                {"total_precipitation_24hr": (("time", "lat", "lon"), values, attributes)},
                {"time": days.astype("datetime64[ns]"), "lat": lat, "lon": lon},
            )
        ]
