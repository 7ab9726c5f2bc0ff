"""Batches: what all samples share is held, moved and pinned once."""

import torch

from orbitlite.batch import Batch


def shared():
    statics = torch.rand(1, 2, 6, 8).expand(5, -1, -1, -1)
    return Batch(coarse=torch.rand(5, 3, 3, 4), statics=statics, time=torch.arange(5.0))


def test_what_samples_share_is_not_repeated():
    batch = Batch.collate([shared()])
    assert batch.statics.untyped_storage().nbytes() == 4 * 2 * 6 * 8
    seen = []

    def look(tensor):
        seen.append(tensor.numel())
        return tensor.clone()

    moved = batch._map(look)
    assert seen == [5 * 3 * 3 * 4, 2 * 6 * 8, 5]
    assert torch.equal(moved.statics, batch.statics)
    assert moved.statics.stride(0) == 0
    assert moved.statics.data_ptr() != batch.statics.data_ptr()


def test_samples_are_joined():
    one, other = shared(), shared()
    batch = Batch.collate([one, other])
    assert torch.equal(batch.statics, torch.cat([one.statics, other.statics]))
    assert torch.equal(batch.coarse[5:], other.coarse)
    assert batch.fine is None
