"""Gradient norm of weights that are spread over processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from orbitlite.parallel.mesh import Ranks


def local_part(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def clip_gradients(
    parameters: Iterable[tuple[str, nn.Parameter]], limit: float, ranks: Ranks
) -> Tensor:
    """Scale all gradients so that their common 2-norm is at most `limit`.

    Every process adds the squares of what it holds, divided by the number of processes that hold
    the same; so the norm is that of the whole network, whatever the layout.

    Parameters
    ----------
    parameters : iterable of (str, Parameter)
        Of `Downscaler.named_parameters`.
    limit : float
    ranks : Ranks

    Returns
    -------
    Tensor
        The norm before, a scalar in float32.
    """
    alike: dict[int, list[Tensor]] = defaultdict(list)
    for name, parameter in parameters:
        if parameter.grad is not None:
            alike[ranks.copies_of(name, parameter)].append(local_part(parameter.grad))
    squares = [
        torch.stack(torch._foreach_norm(gradients, 2, torch.float32)).square().sum() / copies
        for copies, gradients in alike.items()
    ]
    norm = ranks.sum_over_all(torch.stack(squares).sum()).sqrt()
    share = (limit / (norm + 1e-6)).clamp_max(1.0)
    for gradients in alike.values():
        torch._foreach_mul_(gradients, share)
    return norm
