"""Losses against NumPy on asymmetric data, and their masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orbitlite.training.losses import LOSSES, LossFields, Scale, prepare

POINT = [name for name in LOSSES if not hasattr(LOSSES[name], "of_members")]


def fields(members=1):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 1, 2, 5, 6)
    made = dict(
        prediction=torch.rand((2, members, 2, 5, 6), generator=generator, dtype=torch.float64) * 3,
        truth=torch.rand(shape, generator=generator, dtype=torch.float64) * 2,
        amount=torch.rand(shape, generator=generator, dtype=torch.float64) * 40,
        weights=torch.rand(shape, generator=generator, dtype=torch.float64),
        log_transformed=torch.tensor([True, False]),
    )
    return LossFields(**made, total=made["weights"].sum())


def expected(name, f):
    p, t, w, y = (x[:, 0].numpy() for x in (f.prediction, f.truth, f.weights, f.amount))
    e = p - t
    mean = lambda v: (v * w).sum() / w.sum()  # noqa: E731
    if name == "mse":
        return mean(e**2)
    if name == "mae":
        return mean(np.abs(e))
    if name == "huber":
        return mean(np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 0.5))
    if name == "intensity_weighted":
        factor = np.minimum(1 + y, 24)
        factor[:, 1] = 1
        return mean(factor * e**2)
    total = mean(e**2)
    for share, dy, dx in ((1, 1, 0), (1, 0, 1), (0.7, 1, 1), (0.7, 1, -1)):
        for b, k, i, j in np.ndindex(p.shape):
            if i + dy < p.shape[2] and 0 <= j + dx < p.shape[3]:
                step = abs(p[b, k, i + dy, j + dx] - p[b, k, i, j])
                total += 0.02 * share * w[b, k, i, j] * step / w.sum()
    return total


@pytest.mark.parametrize("name", POINT)
def test_known_answer(name):
    found = LOSSES[name](fields())
    assert float(found) == pytest.approx(expected(name, fields()), rel=1e-12)


@pytest.mark.parametrize("name", POINT)
def test_members_are_compared_one_by_one(name):
    both = fields(members=3)
    own = [replace(both, prediction=both.prediction[:, m : m + 1]) for m in range(3)]
    found = float(LOSSES[name](both))
    assert found == pytest.approx(np.mean([expected(name, one) for one in own]), rel=1e-12)
    together = replace(both, prediction=both.prediction.mean(1, keepdim=True))
    assert found > 1.01 * expected(name, together)


def test_cells_without_truth_count_for_nothing():
    scale = Scale(*(torch.tensor(v) for v in ([True], [0.5], [0.8], [3.0])))
    prediction = torch.rand(1, 2, 1, 4, 4, requires_grad=True)
    truth = torch.rand(1, 1, 4, 4)
    truth[0, 0, 1:3, 2] = torch.nan
    areas = torch.tensor([1.0, 2.0, 3.0, 4.0])[None, :, None]
    for space in ("physical", "transformed"):
        for loss in LOSSES.values():
            prediction.grad = None
            found = prepare(prediction, truth, areas, scale, space, torch.ones(1))
            value = loss(found)
            value.backward()
            assert torch.isfinite(value)
            assert torch.isfinite(prediction.grad).all()
    found = prepare(prediction, truth, areas, scale, "physical", torch.ones(1))
    valid = torch.isfinite(truth)
    e = ((prediction[0] - truth) / 3).square().mean(0, keepdim=True)[valid]
    w = areas[:, None].expand_as(truth)[valid]
    torch.testing.assert_close(LOSSES["mse"](found), (w * e).sum() / w.sum())


def test_transformed_space_is_standardised_log():
    scale = Scale(*(torch.tensor(v) for v in ([True, False], [0.5, 280.0], [0.8, 5.0], [3.0, 5.0])))
    values = torch.tensor([[[[np.e - 1]], [[290.0]]]])
    found = scale.apply(values, "transformed").flatten()
    torch.testing.assert_close(found, torch.tensor([(1 - 0.5) / 0.8, 2.0]))


def test_target_weights():
    scale = Scale(*(torch.tensor(v) for v in ([False] * 2, [0.0] * 2, [1.0] * 2, [1.0] * 2)))
    prediction = torch.stack([torch.full((3, 3), 2.0), torch.full((3, 3), 5.0)])[None, None]
    areas = torch.ones(1, 3, 1)
    args = (prediction, torch.zeros(1, 2, 3, 3), areas, scale, "physical")
    found = LOSSES["mae"](prepare(*args, torch.tensor([3.0, 1.0])))
    assert float(found) == pytest.approx((3 * 2 + 5) / 4)
