"""NoisyViT: a vision transformer whose normalisations are moved by noise, one draw per patch.

Among the entries of CORDEX ML-Bench (arXiv 2606.29172) the strongest that is cheap to train; as
deep4downscaling holds it, trained by the fair CRPS and that of Fourier coefficients. Written anew.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.benchmark.peers.conv import Conv, space_to_depth
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.benchmark.peers.size import Size
from orbitlite.model.noise import Draw, mixed

_WIDTH, _DEPTH, _HEADS, _HIDDEN = 96, 4, 4, 2
_CHANNELS, _EMBEDDED = 2, 32
"""Numbers drawn for a patch, and features made of them."""


class ConditionalNorm(nn.Module):
    """LN(x) (1 + W_g e) + W_b e of features x and of e, what is made of noise.

    LN has no gain or offset of its own. Chen et al. 2021, "AdaSpeech", section 2.3; in ensembles
    Lang et al. 2024, "AIFS-CRPS". Both W are zero at first: then noise does nothing.

    Parameters
    ----------
    width, embedded : int
        Features of x and of e.
    """

    def __init__(self, width: int, embedded: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.both = nn.Linear(embedded, 2 * width, bias=False)
        nn.init.zeros_(self.both.weight)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Return (B, L, D) of (B, L, D) and (B, L, E)."""
        gain, offset = self.both(e).chunk(2, dim=-1)
        out: Tensor = self.norm(x) * (1 + gain) + offset
        return out


class Block(nn.Module):
    """A block of a transformer; noise enters before its attention."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = ConditionalNorm(_WIDTH, _EMBEDDED)
        self.mix, self.out = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.cells = nn.Sequential(
            nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _HIDDEN * _WIDTH), nn.GELU(),
            nn.Linear(_HIDDEN * _WIDTH, _WIDTH),
        )  # fmt: skip

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Return tokens (B, L, D)."""
        parts = self.mix(self.norm(x, e)).view(*x.shape[:2], 3, _HEADS, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # (B, A, L, d) each
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(seen)
        out: Tensor = x + self.cells(x)
        return out


class NoisyViT(nn.Module):
    """Patches to tokens, transformer, statics of each patch, a convolution, overlapping patches.

    The decoder gives each token a square of twice the patch; squares are added under the window of
    Hann, so that noise, which is another in each patch, leaves no borders. Its last map begins at
    zero, with the interpolated field. Grids are filled up to whole patches.

    Parameters
    ----------
    size : Size
    patch : int
        Coarse cells of a patch along one axis.
    """

    window: Tensor

    def __init__(self, size: Size, patch: int) -> None:
        super().__init__()
        self.size, self.patch = size, patch
        self.margins = (0, -size.width % patch, 0, -size.height % patch)
        self.tokens = -(-size.height // patch), -(-size.width // patch)
        self.step = patch * size.factor
        self.edge = -(-self.step // 2)
        wraps = size.wraps and not self.margins[1]
        self.around = 1 if wraps else 0
        self.embed = nn.Conv2d(size.inputs, _WIDTH, patch, patch)
        self.place = nn.Parameter(0.02 * torch.randn(math.prod(self.tokens), _WIDTH))
        self.noise = nn.Sequential(
            nn.Linear(_CHANNELS, _EMBEDDED), nn.GELU(), nn.Linear(_EMBEDDED, _EMBEDDED),
            nn.LayerNorm(_EMBEDDED),
        )  # fmt: skip
        self.blocks = nn.ModuleList(Block() for _ in range(_DEPTH))
        self.norm = nn.LayerNorm(_WIDTH)
        self.ground = nn.Linear(size.statics * self.step**2, _WIDTH) if size.statics else None
        self.smooth = nn.Sequential(
            Conv(_WIDTH, _WIDTH, wraps), nn.GELU(), Conv(_WIDTH, _WIDTH, wraps)
        )
        side = self.step + 2 * self.edge
        self.tail = nn.Conv2d(_WIDTH, size.targets * side**2, 1)
        nn.init.zeros_(self.tail.weight)
        hann = torch.hann_window(side + 2, periodic=False)[1:-1]  # without its zeros
        self.register_buffer("window", hann[:, None] * hann, persistent=False)

    def forward(self, x: Tensor, statics: Tensor, noise: Tensor) -> Tensor:
        """Return (B, M, K, fH, fW) of inputs (B, C, H, W), statics and noise (B, M, L, 2)."""
        members, f = noise.shape[1], self.size.factor
        x = self.embed(F.pad(x, self.margins, mode="replicate")).flatten(2).transpose(1, 2)
        x = (x + self.place).repeat_interleave(members, 0)
        e = self.noise(noise.flatten(0, 1))
        for block in self.blocks:
            x = block(x, e)
        x = self.norm(x)
        if self.ground is not None:
            fine = F.pad(statics, [f * margin for margin in self.margins], mode="replicate")
            own = space_to_depth(fine, self.step).flatten(2).transpose(1, 2)
            x = x + self.ground(own).repeat_interleave(members, 0)
        x = x.transpose(1, 2).view(len(x), _WIDTH, *self.tokens)
        out = self._joined(self.tail(x + self.smooth(x)))
        out = out[..., : f * self.size.height, : f * self.size.width]
        return out.reshape(-1, members, *out.shape[1:])

    def _joined(self, squares: Tensor) -> Tensor:
        """Add squares (B M, K side side, h, w) up to (B M, K, rows, columns)."""
        count, (h, w) = len(squares), squares.shape[-2:]
        squares = squares.view(count, -1, *self.window.shape, h, w) * self.window[..., None, None]
        weights = self.window[:, :, None, None].expand(-1, -1, h, w)
        total = self._folded(squares.flatten(1, 3))
        return total / self._folded(weights.flatten(0, 1)[None])

    def _folded(self, squares: Tensor) -> Tensor:
        """Lay squares on the fine grid, each beyond its patch by an edge."""
        side, step = len(self.window), self.step
        squares = F.pad(squares, (self.around, self.around, 0, 0), mode="circular")
        h, w = squares.shape[-2:]
        found = F.fold(
            squares.flatten(2), (h * step, w * step), side, padding=self.edge, stride=step
        )
        return found[..., self.around * step : (w - self.around) * step]


class NoisyPeer(Peer):
    """`NoisyViT` with normal numbers of torch's generator, of seed, member and times.

    So a batch gets the same members whenever they are drawn, but not in another batch: other than
    the noise of our network it does not belong to a place.
    """

    def corrections(self, batch: Batch, draw: Draw | None) -> Tensor:
        """Return what the body adds, (B, M, K, fH, fW) in units of `target_scale`."""
        draw, body = draw or Draw.of(), self.body
        assert isinstance(body, NoisyViT)
        times = torch.zeros(1) if batch.time is None else batch.time.cpu()
        shape = len(batch), math.prod(body.tokens), _CHANNELS
        drawn = []
        for key in mixed(draw.keys + times.double().sum().round().long()).tolist():
            generator = torch.Generator().manual_seed(key)
            drawn.append(torch.randn(shape, generator=generator))
        noise = torch.stack(drawn, dim=1).to(batch.coarse)
        out: Tensor = body(*self.seen(batch), noise)
        return out
