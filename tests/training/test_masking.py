"""Masks: how much is hidden, in which shapes, and that they belong to the sample."""

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.training.masking import KINDS, Masking, ReconstructionConfig

ROWS, COLUMNS, CHANNELS = 12, 18, 5
MOVING = (0, 1, 3, 4)


def masking(patch_size=1, seed=0, window=(ROWS, COLUMNS), moving=MOVING, **shares):
    return Masking.of(ReconstructionConfig(**shares), CHANNELS, moving, patch_size, window, seed)


def only(kind, share, **options):
    return masking(**{name: share if name == kind else 0.0 for name in KINDS}, **options)


def samples(numbers, source=None, rows=ROWS, columns=COLUMNS):
    coarse = torch.zeros(len(numbers), CHANNELS, rows, columns)
    return Batch(coarse=coarse, source=source, sample=torch.tensor(numbers))


@pytest.mark.parametrize("kind", ["patches", "blocks"])
@pytest.mark.parametrize("patch_size", [1, 3])
def test_patches_are_hidden_with_all_channels_but_those_without_time(kind, patch_size):
    hidden = only(kind, 0.25, patch_size=patch_size).draw(samples(range(20)), 3)
    assert not hidden[:, 2].any()
    for channel in MOVING:
        assert hidden[:, channel].equal(hidden[:, 0])
    p = patch_size
    patches = hidden[:, 0].view(20, ROWS // p, p, COLUMNS // p, p).float().mean((2, 4))
    assert set(patches.unique().tolist()) == {0.0, 1.0}
    assert (patches.sum((1, 2)) == round(0.25 * ROWS * COLUMNS / p**2)).all()


def test_patches_at_the_edge_are_cut():
    found = only("patches", 0.5, patch_size=4, window=(6, 7))
    hidden = found.draw(samples(range(30), rows=6, columns=7), 0)[:, 0]
    corner, inner = hidden[:, 4:, 4:].flatten(1), hidden[:, :4, :4].flatten(1)
    for part in (corner, inner):
        assert (part.all(1) | ~part.any(1)).all()
    assert set(hidden.sum((1, 2)).tolist()) <= {6 + 8, 16 + 6, 16 + 8, 16 + 12, 6 + 12, 8 + 12}


def test_blocks_are_of_one_piece_each():
    def pieces(kind):
        hidden = only(kind, 0.3).draw(samples(range(40)), 0)[:, 0].numpy()
        return np.mean([label(field)[1] for field in hidden])

    assert pieces("blocks") < 4
    assert pieces("patches") > 15
    # a block has a side of a third of the grid
    hidden = only("blocks", 0.1).draw(samples(range(40)), 0)[:, 0].numpy()
    sizes = [max(np.bincount(label(field)[0].ravel())[1:]) for field in hidden]
    assert np.mean(sizes) > 12


def test_channels_are_hidden_everywhere():
    hidden = only("channels", 0.5).draw(samples(range(200)), 0)
    fields = hidden.flatten(2)
    assert (fields.all(2) | ~fields.any(2)).all()
    chosen = fields[:, :, 0]
    assert not chosen[:, 2].any()
    assert (chosen.sum(1) == 2).all()
    often = chosen.float().mean(0)[list(MOVING)]
    assert often.min() > 0.35
    assert often.max() < 0.65


def test_something_is_hidden_and_something_is_left_whatever_the_share():
    for share in (0.01, 0.99):
        for kind in KINDS:
            hidden = only(kind, share).draw(samples(range(10)), 0)[:, list(MOVING)].flatten(1)
            assert hidden.any(1).all()
            assert not hidden.all(1).any()


def test_kinds_take_turns_and_hide_the_stated_share_in_the_mean():
    found = masking(patches=0.5, blocks=0.25, channels=0.5)
    hidden = found.draw(samples(range(3000)), 0)
    whole = hidden.flatten(2)
    channels = (whole.all(2).any(1)).float().mean()
    assert channels == pytest.approx(1 / 3, abs=0.03)
    mean = whole.float().mean((0, 2))
    expected = found.hidden_shares
    assert expected[2] == 0
    assert mean.tolist() == pytest.approx(expected.tolist(), abs=0.02)
    assert expected[0] == pytest.approx((0.5 + 0.25 + 0.5) / 3, abs=0.01)


def test_masks_belong_to_the_sample_however_batches_are_cut():
    found = masking()
    whole = found.draw(samples([4, 9, 2, 7, 11]), 6)
    parts = [found.draw(samples(part), 6) for part in ([4], [9, 2, 7], [11])]
    assert torch.cat(parts).equal(whole)
    assert found.draw(samples([11, 4]), 6).equal(whole[[4, 0]])


@pytest.mark.parametrize("change", ["step", "seed", "source", "sample"])
def test_masks_follow_from_seed_step_source_and_sample(change):
    def drawn(seed=0, step=0, source=1, sample=0):
        numbers = range(20 * sample, 20 * sample + 20)
        return masking(seed=seed).draw(samples(numbers, source), step)

    assert drawn().equal(drawn())
    assert not drawn(**{change: 2}).equal(drawn())


def test_kinds_of_which_nothing_would_be_left_are_not_drawn():
    one = masking(moving=(3,))
    assert set(one.kinds) == {"patches", "blocks"}
    assert not one.draw(samples(range(50)), 0)[:, :3].any()
    assert set(masking(window=(2, 2), patch_size=2).kinds) == {"channels"}
    for impossible in ({"moving": ()}, {"moving": (1,), "patches": 0.0, "blocks": 0.0}):
        with pytest.raises(InputError, match="nothing can be hidden of samples with"):
            masking(**impossible)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"weight": 0.0}, "model.reconstruction.weight: expected more than 0, found 0.0"),
        ({"weight": float("nan")}, "weight: expected more than 0, found nan"),
        ({"patches": 1.0}, "model.reconstruction.patches: expected a share in"),
        ({"channels": -0.1}, "model.reconstruction.channels: expected a share in"),
        ({"patches": 0.0, "blocks": 0.0, "channels": 0.0}, "nothing would be hidden"),
    ],
)
def test_shares_that_cannot_be(settings, text):
    with pytest.raises(InputError, match=text):
        ReconstructionConfig(**settings)
