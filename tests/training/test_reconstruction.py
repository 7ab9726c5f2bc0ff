"""Reconstruction: nothing that is hidden is seen, gaps count for nothing, and the loss by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.batch import Batch, Core
from orbitlite.data.datamodule import PairDataModule
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.mesh import MeshGrid
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.reconstruction import ReconstructionHead
from orbitlite.parallel.mesh import Ranks
from orbitlite.training.masking import Masking, ReconstructionConfig
from orbitlite.training.module import DownscalingModule
from orbitlite.training.reconstruction import (
    Compared,
    Reconstruction,
    coarse_areas,
    nearest_visible,
)
from orbitlite.training.reconstruction_scores import ReconstructionScores

RAIN, WARM, WIND = "total_precipitation_24hr", "2m_temperature", "10m_wind_speed"
INPUTS = [RAIN, WARM, WIND, "orography"]


def network(**options):
    torch.manual_seed(2)
    config = DownscalerConfig(**{
        "inputs": INPUTS, "targets": [RAIN], "statics": ["land_sea_mask"], "factor": 2,
        "patch_size": 2, "embed_dim": 16, "depth": 2, "num_heads": 2, **options,
    })  # fmt: skip
    found = Downscaler(config)
    found.set_statistics(input_mean=[0.5, 280, 4, 300], input_std=[0.8, 6, 2, 200])
    found.reconstruction = ReconstructionHead(config)
    return found.eval()


def batch(count=4, rows=7, columns=9, gaps=True, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw)

    fields = [
        normal(count, rows, columns).exp(),
        280 + 6 * normal(count, rows, columns),
        4 + normal(count, rows, columns).abs(),
        300 + 99 * normal(count, rows, columns),
    ]
    coarse = torch.stack(fields, 1)
    if gaps:
        coarse[0, :, 2:5, 3:6] = torch.nan
        coarse[1, 1] = torch.nan
    return Batch(
        coarse=coarse, sample=torch.arange(count),
        lat_edges=torch.linspace(60, 25, rows + 1).double().expand(count, -1),
        lon_edges=torch.linspace(-10, 12, columns + 1).double().expand(count, -1),
    )  # fmt: skip


def masks(window=(7, 9), **shares):
    return Masking.of(ReconstructionConfig(**shares), 4, (0, 1, 2), 2, window)


def learning(model, **shares):
    found = Reconstruction(ReconstructionConfig(**shares), model)
    found._maskings = [masks(**shares)]
    return found


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patch_size": 3, "channel_groups": 2},
        {"group_aggregation": "linear", "channel_groups": 2},
        {"tokens": 0.5},
        {"tokens": 0.5, "saliency": "variance", "saliency_channels": [RAIN, WARM]},
        {"tokens": 0.5, "saliency": "learned", "channel_dropout": 0.3},
        {"depth": 0},
    ],
)
def test_a_hidden_value_changes_nothing_and_a_shown_one_does(options, training):
    model, given = network(**options).train(training), batch()
    hidden = masks().draw(given, 0)
    assert hidden.any()

    def predicted(coarse):
        torch.manual_seed(0)
        with torch.no_grad():
            return model.reconstruct(replace(given, coarse=coarse), hidden).prediction

    expected = predicted(given.coarse)
    assert expected.isfinite().all()
    other = batch(seed=1).coarse
    for values in (other, torch.full_like(other, torch.nan), torch.full_like(other, 1e6)):
        assert predicted(torch.where(hidden, values, given.coarse)).equal(expected)
    seen = torch.where(hidden, given.coarse, other)
    assert not torch.allclose(predicted(seen), expected, atol=1e-3)


def test_channels_are_not_dropped_beside_those_that_are_hidden():
    model, given = network(channel_dropout=0.9).train(), batch(gaps=False)
    hidden = torch.zeros_like(given.coarse, dtype=torch.bool)
    with torch.no_grad():
        found = [model.reconstruct(given, hidden).prediction for _ in range(2)]
    assert found[0].equal(found[1])


def by_hand(found, given, hidden, rows, columns, total):
    """Add up cell by cell: areas are those between parallels, a cell at the equator has one."""
    sums = 0.0
    lat = np.deg2rad(given.lat_edges.numpy())
    spacing = np.abs(np.diff(lat, axis=1)).max(1)
    coarse = given.coarse.numpy()
    for b in range(len(given)):
        for c in range(3):
            for i in rows:
                for j in columns:
                    if hidden[b, c, i, j] and not np.isnan(coarse[b, c, i, j]):
                        value = float(coarse[b, c, i, j])
                        if c == 0:
                            value = np.log1p(value)
                        value = (value - [0.5, 280, 4][c]) / [0.8, 6, 2][c]
                        area = abs(np.sin(lat[b, i]) - np.sin(lat[b, i + 1])) / spacing[b]
                        sums += area * (float(found[b, 0, c, i, j]) - value) ** 2
    return sums / total


def test_the_loss_by_hand_with_gaps_and_statics():
    model, given = network(), batch()
    learned = learning(model)
    hidden = masks().draw(given, 5)
    assert (hidden & given.coarse.isnan()).any()
    assert not hidden[:, 3].any()
    with torch.no_grad():
        found = model.reconstruct(given, hidden).prediction
        loss = learned.loss(model, given, lambda own: torch.full_like(own, 30.0), 5)
    assert float(loss) == pytest.approx(
        by_hand(found, given, hidden, range(7), range(9), 30), rel=1e-5
    )


def test_a_tile_counts_its_core_alone():
    model, given = network(), batch()
    learned = learning(model)
    first = torch.tensor([[1, 2]] * 4)
    tile = replace(given, core=Core(first, (3, 4)))
    hidden = masks().draw(given, 5)
    with torch.no_grad():
        found = model.reconstruct(given, hidden).prediction
        loss = learned.loss(model, tile, lambda own: torch.full_like(own, 30.0), 5)
    expected = by_hand(found, given, hidden, range(1, 4), range(2, 6), 30)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_gaps_give_no_gradient_and_padding_neither():
    model, given = network(), batch()
    learned = learning(model)
    empty = replace(given, coarse=torch.full_like(given.coarse, torch.nan))
    loss = learned.loss(model, empty, lambda own: torch.full_like(own, 30.0), 5)
    loss.backward()
    assert float(loss.detach()) == 0.0
    used = {
        name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
    }
    assert all((gradient == 0).all() for gradient in used.values())
    # as on a process that has samples: what learns is the same on all
    model.zero_grad()
    learned.loss(model, given, lambda own: torch.full_like(own, 30.0), 5).backward()
    assert {n for n, w in model.named_parameters() if w.grad is not None} == set(used)
    assert not any(name.startswith(("decoder.", "blend")) for name in used)
    assert {name.split(".")[0] for name in used} == {
        "channels", "position", "blocks", "norm", "reconstruction"
    }  # fmt: skip


def test_masks_change_from_step_to_step_and_not_in_validation():
    model, given = network(), batch()
    learned = learning(model)

    def weights(step):
        with torch.no_grad():
            return learned.compare(model, given, *step).weights

    assert weights([]).equal(weights([]))
    assert not weights([1]).equal(weights([2]))


def rotated():
    rows, columns = np.meshgrid(np.linspace(50, 40, 6), np.linspace(0, 12, 7), indexing="ij")
    turn = np.deg2rad(20)
    corners = np.stack([
        45 + (rows - 45) * np.cos(turn) + (columns - 6) * np.sin(turn),
        6 + (columns - 6) * np.cos(turn) * 1.3 - (rows - 45) * np.sin(turn),
    ], axis=-1)  # fmt: skip
    return MeshGrid.from_corners(corners)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_areas_of_coarse_cells_are_those_of_their_parts(factor):
    given = batch()
    lat = np.deg2rad(given.lat_edges.numpy())
    expected = np.abs(np.diff(np.sin(lat), axis=1)) / np.abs(np.diff(lat, axis=1)).max()
    found = coarse_areas(given, factor)
    np.testing.assert_allclose(found[..., 0].numpy(), expected, rtol=1e-6)
    grid = rotated()
    places = grid.places(grid.refine(factor))
    named = {name: torch.from_numpy(part)[None] for name, part in places.items()}
    mesh = Batch(torch.empty(1, 4, *grid.shape), **named)
    found = coarse_areas(mesh, factor)[0].double().numpy()
    assert found.shape == grid.shape
    np.testing.assert_allclose(found / found.sum(), grid.weights, rtol=2e-3)


def test_nearest_visible_by_search():
    draw = torch.Generator().manual_seed(3)
    values = torch.randn(2, 3, 6, 8, generator=draw)
    visible = torch.rand(2, 3, 6, 8, generator=draw) < 0.2
    visible[0, 1] = visible[0, 0]
    visible[1, 2] = False
    found = nearest_visible(values, visible)
    for b, c, i, j in np.ndindex(2, 3, 6, 8):
        places = visible[b, c].nonzero().numpy()
        if not len(places):
            assert found[b, c, i, j] == 0
            continue
        away = ((places - [i, j]) ** 2).sum(1)
        near = [float(values[b, c, y, x]) for y, x in places[away == away.min()]]
        assert float(found[b, c, i, j]) in near


def test_scores_are_means_over_cells_and_sources():
    draw = torch.Generator().manual_seed(4)

    def some(*shape):
        return torch.randn(*shape, generator=draw)

    scores = ReconstructionScores({"a": 1.0, "b": 3.0})
    expected = {}
    for name, count in (("a", 3), ("b", 2)):
        parts = [Compared(some(count, 1, 2, 3, 4), some(count, 2, 3, 4),
                          some(count, 2, 3, 4).clamp_min(0), some(count, 2, 3, 4))
                 for _ in range(2)]  # fmt: skip
        for part in parts:
            scores.update(name, part)
        weights = np.concatenate([p.weights.numpy().ravel() for p in parts]).astype(float)
        errors = [
            np.concatenate([(say(p) - p.target).numpy().ravel() for p in parts]).astype(float)
            for say in (lambda p: p.prediction[:, 0], lambda p: 0 * p.target, lambda p: p.nearest)
        ]
        expected[name] = [np.average(error**2, weights=weights) for error in errors]
    found = scores.compute(Ranks(), torch.device("cpu"))
    for n, end in enumerate(("", "_mean", "_nearest")):
        for name in ("a", "b"):
            assert found[f"{name}/val_reconstruction{end}"] == pytest.approx(expected[name][n])
        mean = 0.25 * expected["a"][n] + 0.75 * expected["b"][n]
        assert found[f"val_reconstruction{end}"] == pytest.approx(mean)


def test_the_head_puts_each_patch_in_its_place():
    config = network(patch_size=3).config
    head = ReconstructionHead(config)
    tokens = torch.randn(2, 1, 3, 3, 16)
    found = head(tokens, (7, 9)).detach()
    assert found.shape == (2, 1, 4, 7, 9)
    assert found.dtype == torch.float32
    changed = tokens.clone()
    changed[:, :, 2, 1] = torch.randn(16)
    other = head(changed, (7, 9)) != found
    assert other[..., 6:, 3:6].all()
    other[..., 6:, 3:6] = False
    assert not other.any()
    # as one product: value of channel c at (y, x) of a patch
    flat = head.out(torch.nn.functional.gelu(head.hidden(head.norm(tokens[0, 0, 1, 2])))).detach()
    assert found[0, 0, 2, 4, 8] == pytest.approx(float(flat[2 * 9 + 1 * 3 + 2]), rel=1e-5)


DAYS = 60


@pytest.fixture(scope="module", params=["latitudes", "tiles"])
def expected_source(request):
    """Return a module that has begun, and its data: gaps, an input without time, one lacking."""
    draw = np.random.default_rng(6)
    grid = LatLonGrid.from_edges(np.linspace(70, 20, 9), np.linspace(0, 40, 11))
    rain = draw.gamma(0.5, 4.0, (DAYS, 8, 10))
    warm = 280 + 8 * draw.standard_normal(rain.shape)
    warm[:40, 2:6, 3:7] = np.nan
    dims = ("time", "lat", "lon")
    store = xr.Dataset(
        {RAIN: (dims, rain.astype("f4"), {"units": "mm"}),
         WARM: (dims, warm.astype("f4"), {"units": "K"}),
         "orography": (dims[1:], 500 * draw.random((8, 10)), {"units": "m"})},
        {"time": np.datetime64("2001-01-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D"),
         **grid.coordinates()},
    )  # fmt: skip
    tiles = {"tile": 5, "halo": 2} if request.param == "tiles" else {}
    config = DownscalerConfig(inputs=INPUTS, targets=[RAIN], statics=[], factor=2, patch_size=1,
                              embed_dim=8, depth=0, num_heads=2)  # fmt: skip
    data = PairDataModule(coarse=store, inputs=INPUTS, targets=[RAIN], static_names=[], factor=2,
                          train=["2001-01-01", "2001-12-31"], batch_size=30, **tiles)  # fmt: skip
    data.setup("fit")
    module = DownscalingModule(config, reconstruction=ReconstructionConfig())
    module.reconstruction.begin(module.network, data)
    module.take_statistics(data)
    return module, data


def test_losses_are_divided_by_what_is_hidden_in_the_mean(expected_source):
    module, data = expected_source
    head = module.network.reconstruction
    torch.nn.init.zeros_(head.out.weight)
    torch.nn.init.zeros_(head.out.bias)
    weights, losses, samples = [], [], 0
    for step in range(12):
        for batch in data.train_dataloader():
            with torch.no_grad():
                found = module.reconstruction.compare(module.network, batch, step)
                total = module.expectation.total(len(batch), batch.source)
                losses.append(
                    module.reconstruction.loss(module.network, batch, total, step) * len(batch)
                )
            weights.append(found.weights.sum())
            samples += len(batch)
    assert float(sum(weights)) / samples == pytest.approx(module.expectation.weights[0], rel=0.03)
    # the mean of the training data predicts with an error of one
    assert float(sum(losses)) / samples == pytest.approx(1.0, abs=0.06)
