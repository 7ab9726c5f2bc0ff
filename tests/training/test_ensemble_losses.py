"""Losses of members against direct double sums in NumPy, and their masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orbitlite.model.config import DownscalerConfig
from orbitlite.training.ensemble_losses import ALPHA
from orbitlite.training.losses import LOSSES, LossFields
from orbitlite.training.module import DownscalingModule
from orbitlite.verification.crps import crps

OF_MEMBERS = [name for name in LOSSES if hasattr(LOSSES[name], "of_members")]
SHAPE = (2, 1, 2, 10, 12)


def fields(members=3, missing=False):
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    weights = rand(*SHAPE)
    if missing:
        weights[0, 0, :, 2:7, 3] = 0
        weights[1, 0, 1, :8, :8] = 0
    return LossFields(
        prediction=rand(2, members, *SHAPE[2:]) * 3, truth=rand(*SHAPE) * 2, amount=rand(*SHAPE),
        weights=weights, log_transformed=torch.tensor([True, False]), total=weights.sum(),
    )  # fmt: skip


def score(members, truth, alpha, distance=lambda a, b: np.abs(a - b)):
    """Return the almost fair CRPS along the first axis, as a sum over all pairs."""
    count = len(members)
    if count == 1:
        return distance(members[0], truth)
    share = 1 - (1 - alpha) / count
    pairs = [
        distance(members[j], truth) + distance(members[k], truth)
        - share * distance(members[j], members[k])
        for j in range(count) for k in range(count) if j != k
    ]  # fmt: skip
    return sum(pairs) / (2 * count * (count - 1))


def blocks(values, size, reduce):
    """Reduce the squares of (H, W), cut off at the southern and eastern edges."""
    height, width = values.shape
    return np.array(
        [
            [reduce(values[i : i + size, j : j + size]) for j in range(0, width, size)]
            for i in range(0, height, size)
        ]
    )


def expected(name, f):
    """Sum over samples and targets."""
    total = 0.0
    for b in range(2):
        for k in range(2):
            p, t, w = (x[b, :, k].numpy() for x in (f.prediction, f.truth, f.weights))
            total += of_field(name, p, t[0], w[0])
    return total / float(f.total)


def of_field(name, p, t, w):
    if name in ("crps", "fair_crps"):
        return (w * score(p, t, ALPHA if name == "crps" else 1.0)).sum()
    if name == "energy_score":
        norm = lambda a, b: np.sqrt((w * (a - b) ** 2).sum() / w.sum())  # noqa: E731
        return w.sum() * score(p, t, ALPHA, norm)
    if name == "spectral_crps":
        root = np.sqrt(w / w.mean())
        waves = [np.fft.rfft2(x * root, norm="ortho") for x in (*p, t)]
        return w.sum() * score(waves[:-1], waves[-1], ALPHA).mean()
    total = 0.0
    for size in (2, 4, 8):
        weight = blocks(w, size, np.sum)
        there = weight > 0
        if name == "pooled_crps":
            made = [blocks(x * w, size, np.sum)[there] / weight[there] for x in (*p, t)]
        else:
            made = [
                blocks(np.where(w > 0, x, -np.inf), size, np.max)[there] for x in (*p, t)
            ]  # fmt: skip
        total += (weight[there] * score(made[:-1], made[-1], ALPHA)).sum() / 3
    return total


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("members", [2, 3, 5])
@pytest.mark.parametrize("name", OF_MEMBERS)
def test_known_answer(name, members, missing):
    f = fields(members, missing)
    rel = 1e-5 if name == "spectral_crps" else 1e-9  # in float32
    assert float(LOSSES[name](f)) == pytest.approx(expected(name, f), rel=rel)


@pytest.mark.parametrize("name", OF_MEMBERS)
def test_cells_without_truth_count_for_nothing(name):
    f = fields(missing=True)
    prediction = f.prediction.clone().requires_grad_()
    LOSSES[name](replace(f, prediction=prediction)).backward()
    left_out = (f.weights == 0).expand_as(prediction)
    assert torch.isfinite(prediction.grad).all()
    assert (prediction.grad[left_out] == 0).all()
    other = f.prediction.masked_fill(left_out, 50.0)
    truth = f.truth.masked_fill(f.weights == 0, -7.0)
    changed = LOSSES[name](replace(f, prediction=other, truth=truth))
    assert float(changed) == pytest.approx(float(LOSSES[name](f)), rel=1e-6)


@pytest.mark.parametrize("name", OF_MEMBERS)
def test_samples_add_up(name):
    """Of a batch the loss is the mean of those of its samples, by their weights."""
    f = fields(missing=True)
    parts = [
        replace(
            f, prediction=f.prediction[b : b + 1], truth=f.truth[b : b + 1],
            weights=f.weights[b : b + 1], total=f.total,
        )
        for b in range(2)
    ]  # fmt: skip
    assert float(LOSSES[name](f)) == pytest.approx(
        sum(float(LOSSES[name](part)) for part in parts), rel=1e-6
    )


@pytest.mark.parametrize("name", OF_MEMBERS)
def test_members_that_are_alike_have_gradients(name):
    """As at the start, where noise does nothing yet."""
    f = fields(2)
    one = f.prediction[:, :1].repeat(1, 2, 1, 1, 1).requires_grad_()
    LOSSES[name](replace(f, prediction=one)).backward()
    assert torch.isfinite(one.grad).all()
    assert one.grad.abs().sum() > 0


@given(st.integers(2, 6), st.floats(0, 1), st.integers(0, 100))
def test_crps_is_a_double_sum(members, alpha, seed):
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(members, 4)), generator.normal(size=4)
    found = crps(torch.tensor(x)[None], torch.tensor(y)[None, None], alpha)[0, 0]
    np.testing.assert_allclose(found, score(x, y, alpha), rtol=1e-9, atol=1e-12)


def test_fair_crps_does_not_depend_on_the_number_of_members():
    """In the mean; of a standard normal ensemble and truth it is 1 / sqrt(pi)."""
    generator = torch.Generator().manual_seed(0)
    for count in (2, 5, 20):
        x = torch.randn(20_000, count, generator=generator, dtype=torch.float64)
        y = torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
        assert float(crps(x, y).mean()) == pytest.approx(np.pi**-0.5, rel=0.02)


RAIN = ["total_precipitation_24hr"]


def module(**settings):
    network = DownscalerConfig(
        inputs=RAIN, statics=[], factor=2, embed_dim=16, depth=0, noise=settings.pop("noise", 2)
    )
    return DownscalingModule(network, **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss": "mse"}, "the loss mse asks every member for the same field"),
        ({"loss": "crps", "members": 1}, "state model.members 2 or more"),
        ({"loss": "crps", "members": 0}, "members: expected 1 or more, found 0"),
        ({"loss": "crps", "noise": 0}, r"model\.network\.noise: 4"),
        ({"loss": "mse", "noise": 0, "structure": {"spectral_crps": 1.0}}, "compares members"),
        ({"loss": "crps", "structure": {"spectral_crps": -1.0}}, "a weight above 0"),
        ({"loss": "crps", "structure": {"spektral": 1.0}}, "spectral_crps"),
    ],
)
def test_what_does_not_fit_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        module(**settings)


def test_structure_is_added_with_its_weight():
    f = fields(2)
    found = module(loss="crps", structure={"energy_score": 0.3}).objective(f)
    assert float(found) == pytest.approx(
        float(LOSSES["crps"](f)) + 0.3 * float(LOSSES["energy_score"](f)), rel=1e-9
    )


def test_members_of_a_step_are_others_than_those_of_the_next():
    objective = module(loss="crps", members=3).objective
    steps = [objective.draw(step).keys for step in (0, 1, 1)]
    assert len(steps[0]) == 3
    assert not set(steps[0].tolist()) & set(steps[1].tolist())
    assert torch.equal(steps[1], steps[2])
    assert module(loss="mse", noise=0).objective.draw(0) is None
