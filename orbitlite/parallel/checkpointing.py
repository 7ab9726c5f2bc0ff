"""Activation checkpointing: what a block keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from orbitlite.parallel.mesh import ActivationCheckpointing

_KEPT = (
    "mm", "addmm", "bmm", "baddbmm", "convolution", "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)  # fmt: skip
"""Costly to compute again: matrix products and attention."""
_EXCHANGED = ("all_reduce", "all_to_all_single", "wait_tensor")


def checkpoint_activations(blocks: nn.ModuleList, kind: ActivationCheckpointing) -> None:
    """Let each block keep less for the backward pass and compute the rest again, in place.

    Chen et al. 2016 (training deep nets with sublinear memory cost) for `full`; `selective` keeps
    what is costly to compute or came from other ranks.

    Parameters
    ----------
    blocks : nn.ModuleList
    kind : {"none", "selective", "full"}
    """
    if kind == "none":
        return
    options: dict[str, Any] = {"use_reentrant": False}
    if kind == "selective":
        options["context_fn"] = _contexts
    for block in blocks:
        block.forward = _again(block.forward, options)


def _again(forward: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    def call(*inputs: Any) -> Any:
        return checkpoint(forward, *inputs, **options)

    return call


def _contexts() -> Any:
    policy = partial(_policy, _kept())
    return create_selective_checkpoint_contexts(policy)  # type: ignore[no-untyped-call]


def _kept() -> frozenset[Any]:
    places = [(torch.ops.aten, _KEPT), (torch.ops._c10d_functional, _EXCHANGED)]
    return frozenset(
        getattr(place, name).default for place, names in places for name in names
        if hasattr(place, name)
    )  # fmt: skip


def _policy(kept: frozenset[Any], _: Any, op: Any, *inputs: Any, **more: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if op in kept else CheckpointPolicy.PREFER_RECOMPUTE
