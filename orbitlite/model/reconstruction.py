"""Reconstruction: inputs that are hidden from the trunk, predicted from the tokens of the others.

Masked autoencoding (He et al. 2022, "Masked autoencoders are scalable vision learners"; with local
and global masks in turn Schmude et al. 2024, "Prithvi WxC"), without a token of its own for what is
hidden: a hidden value is a missing one, NaN, before anything looks at the batch. So it is in no
patch, no share of valid cells, no saliency and no sum over channels, and a network learns to do
without a value as it has to where the data lack it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.model.config import DownscalerConfig

PREFIX = "reconstruction."
"""Weights of the head among those of a network: they are of the fit, and in no bundle."""


class Reconstructed(NamedTuple):
    """What the network says of all inputs, and what they are.

    Attributes
    ----------
    prediction : Tensor of shape (B, M, C, H, W)
        Standardised, float32.
    target : Tensor of shape (B, C, H, W)
        The same of the data; zero where they are missing.
    """

    prediction: Tensor
    target: Tensor


class ReconstructionHead(nn.Module):
    """From tokens to all inputs of their patches: normalisation and a perceptron of one layer.

    It is light on purpose: what is far and what other channels say has to be in the tokens.

    Parameters
    ----------
    config : DownscalerConfig
    """

    def __init__(self, config: DownscalerConfig) -> None:
        super().__init__()
        width, self.patch_size = config.embed_dim, config.patch_size
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 2 * width)
        self.out = nn.Linear(2 * width, len(config.inputs) * self.patch_size**2)

    def forward(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        """Predict.

        Parameters
        ----------
        tokens : Tensor of shape (B, M, h, w, D)
        shape : tuple of int
            Rows H and columns W of cells; the patches may reach beyond in the south and east.

        Returns
        -------
        Tensor of shape (B, M, C, H, W), float32
        """
        p, (height, width) = self.patch_size, shape
        with torch.autocast(tokens.device.type, enabled=False):
            x = tokens.to(self.norm.weight.dtype)
            x = self.out(nn.functional.gelu(self.hidden(self.norm(x))))
        b, m, h, w, _ = x.shape
        x = x.view(b, m, h, w, -1, p, p).permute(0, 1, 4, 2, 5, 3, 6)
        fields: Tensor = x.reshape(b, m, -1, h * p, w * p)[..., :height, :width]
        return fields.float()


def concealed(batch: Batch, hidden: Tensor) -> Batch:
    """Return a batch without what is hidden, (B, C, H, W), bool, and without fine statics."""
    coarse = batch.coarse.masked_fill(hidden, torch.nan)
    return replace(batch, coarse=coarse, statics=None, fine=None)
