"""Several sources: turns, passes, places, samples, statistics, and what cannot be."""

from collections import Counter

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.sampling import PADDING, EpochBatches, MixedBatches
from orbitlite.data.statistics import Moments
from orbitlite.errors import InputError, SharedError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.notice import OrbitliteWarning

RAIN, WARM, WIND = "total_precipitation_24hr", "2m_temperature", "10m_wind_speed"


def mixed(counts, weights, batch=2, rank=0, size=1, seed=0):
    parts = [EpochBatches(n, batch, seed + s, rank, size) for s, n in enumerate(counts)]
    return MixedBatches(parts, weights)


def source_of(indices, counts):
    ends = np.cumsum(counts)
    found = {
        PADDING - index if index < 0 else int(np.searchsorted(ends, index, "right"))
        for index in indices
    }
    assert len(found) == 1, "a batch is of one source"
    return found.pop()


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@settings(deadline=None, max_examples=100)
@given(sizes, st.integers(1, 3), st.data())
def test_each_sample_once_per_pass_of_its_source(counts, batch, data):
    weights = [data.draw(st.floats(0.1, 10)) for _ in counts]
    batches = mixed(counts, weights, batch)
    taken = [[] for _ in counts]
    for _ in range(6):
        for indices in batches:
            source = source_of(indices, counts)
            taken[source].append([index - sum(counts[:source]) for index in indices])
    for count, found in zip(counts, taken, strict=True):
        flat = [sample for indices in found for sample in indices]
        for start in range(0, len(flat) - count + 1, count):
            assert sorted(flat[start : start + count]) == list(range(count))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_processes_take_together_what_one_takes(size):
    counts, weights = [7, 12], [1.0, 2.0]
    alone = list(mixed(counts, weights, batch=4))
    ranks = [list(mixed(counts, weights, batch=4 // size, rank=r, size=size)) for r in range(size)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        together = [index for part in parts for index in part if index >= 0]
        assert together == whole
        assert len({source_of(part, counts) for part in [whole, *parts]}) == 1


def test_turns_are_in_proportion_to_the_weights_and_spread_evenly():
    batches = mixed([40, 40], [3.0, 1.0], batch=2)
    turns = [source_of(indices, [40, 40]) for indices in batches]
    assert Counter(turns) == {0: 30, 1: 10}
    gaps = np.diff([place for place, source in enumerate(turns) if source == 1])
    assert set(gaps) <= {3, 4, 5}


def test_passes_have_other_orders_and_epochs_follow_from_the_seed():
    batches = mixed([8, 4], [1.0, 1.0])
    epochs = [list(batches) for _ in range(4)]
    assert epochs[0] != epochs[1]
    again = mixed([8, 4], [1.0, 1.0])
    again.set_epoch(2)
    assert list(again) == epochs[2]
    assert list(mixed([8, 4], [1.0, 1.0], seed=5)) != epochs[0]


@pytest.mark.parametrize("done", [0, 1, 3])
def test_goes_on_within_an_epoch(done):
    whole = mixed([8, 5], [1.0, 2.0])
    whole.set_epoch(3)
    rest = mixed([8, 5], [1.0, 2.0])
    rest.go_on(rest.place(3, done))
    assert list(rest) == list(whole)[done:]
    assert list(rest) == list(whole)  # the epoch after it is whole


def test_counts_the_samples_of_batches():
    batches = mixed([5, 3], [5.0, 3.0], batch=2)
    for _ in range(3):
        found = [len(indices) for indices in batches]
        counted = [batches.samples(n, n + 1) for n in range(len(batches))]
        assert counted == found
        assert batches.samples(0, len(batches)) == sum(found)


def test_another_batch_size_cannot_go_on_within_an_epoch():
    place = mixed([8, 5], [1.0, 2.0]).place(1, 2)
    with pytest.raises(SharedError, match="samples per step"):
        mixed([8, 5], [1.0, 2.0], batch=3).go_on(place)
    mixed([8, 5], [1.0, 2.0], batch=3).go_on(mixed([8, 5], [1.0, 2.0]).place(2, 0))
    with pytest.raises(SharedError, match="several sources"):
        EpochBatches(8, 2).go_on(place)
    with pytest.raises(SharedError, match="an epoch of one source"):
        mixed([8, 5], [1.0, 2.0]).go_on(EpochBatches(8, 2).place(1, 2))


def store(days, rows, west, *names, seed=0):
    """Return fields of a region of its own."""
    random = np.random.default_rng(seed)
    grid = LatLonGrid.from_edges(np.linspace(50, 40, rows + 1), west + np.linspace(0, 10, 9))
    values = {
        RAIN: ("mm", random.gamma(0.6, 4.0, (days, rows, 8))),
        WARM: ("K", 280 + 5 * random.standard_normal((days, rows, 8))),
        WIND: ("m s**-1", random.gamma(2, 3.0, (days, rows, 8))),
        "orography": ("m", 500 * random.random((rows, 8))),
    }
    times = np.datetime64("2001-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D")
    fields = {
        name: (("time", "lat", "lon")[3 - values[name][1].ndim :], values[name][1].astype("f4"),
               {"units": values[name][0]})
        for name in names
    }  # fmt: skip
    return xr.Dataset(fields, {"time": times, **grid.coordinates()})


NAMES = {
    "inputs": [RAIN, WARM, WIND], "targets": [RAIN], "static_names": ["orography"], "factor": 2,
}  # fmt: skip
FIRST = store(20, 8, 0.0, RAIN, WARM, "orography")
SECOND = store(12, 4, 30.0, RAIN, WIND, seed=1)


def module(first=None, second=None, **options):
    sources = {
        "one": {"fine": FIRST, "train": ["2001-01-01", "2001-01-14"],
                "validate": ["2001-01-15", "2001-01-20"]} | (first or {}),
        "two": {"fine": SECOND, "train": ["2001-01-01", "2001-01-09"],
                "validate": ["2001-01-10", "2001-01-12"]} | (second or {}),
    }  # fmt: skip
    return PairDataModule(sources=sources, batch_size=4, **{**NAMES, **options})


@pytest.fixture(scope="module")
def data():
    found = module()
    with pytest.warns(
        OrbitliteWarning, match="Fine statics that two lacks are missing values: oro"
    ):
        found.setup("fit")
    return found


def test_a_batch_is_of_one_source_on_its_own_grid(data):
    seen = Counter()
    for batch in data.train_dataloader():
        part = list(data.parts.values())[batch.source]
        assert batch.fine.shape[-2:] == part.pairs.fine_grid.shape
        for coarse, fine, time in zip(batch.coarse, batch.fine, batch.time, strict=True):
            day = np.datetime64(int(time), "s")
            there = part.pairs.fine.sel(time=day)[RAIN].values
            np.testing.assert_array_equal(fine[0], there)
            lacking = 2 if batch.source == 0 else 1
            assert torch.isnan(coarse[lacking]).all()
            seen[batch.source, day] += 1
        assert torch.isnan(batch.statics).all() == (batch.source == 1)
    # without weights each sample counts once in an epoch
    assert set(seen.values()) == {1}
    assert Counter(source for source, _ in seen) == {0: 14, 1: 9}


def test_workers_and_the_cache_do_not_change_the_batches(data):
    expected = [(b.source, b.fine.sum().item()) for b in data.train_dataloader()]
    other = module(num_workers=2, cache=False)
    other.setup("fit")
    assert [(b.source, b.fine.sum().item()) for b in other.train_dataloader()] == expected


def test_each_source_is_validated_by_itself(data):
    loaders = data.val_dataloader()
    assert [{batch.source for batch in loader} for loader in loaders] == [{0}, {1}]
    assert list(data.scored("validate")) == ["one", "two"]


def test_statistics_are_those_of_all_samples_by_weight():
    data = module({"weight": 1.0}, {"weight": 3.0})
    data.setup("fit")
    known = data.joint.of("targets", "")
    parts = [
        np.log1p(fine[RAIN].isel(time=slice(0, days)).values.astype(float))
        for fine, days in ((FIRST, 14), (SECOND, 9))
    ]
    areas = [part.pairs.fine_grid.weights for part in data.parts.values()]
    means = [(values * area).sum((1, 2)).mean() for values, area in zip(parts, areas, strict=True)]
    mean = 0.25 * means[0] + 0.75 * means[1]
    squares = [
        (((values - mean) ** 2) * area).sum((1, 2)).mean()
        for values, area in zip(parts, areas, strict=True)
    ]
    assert known.mean[0] == pytest.approx(mean, rel=1e-9)
    assert known.std[0] == pytest.approx(np.sqrt(0.25 * squares[0] + 0.75 * squares[1]), rel=1e-9)
    inputs = data.input_statistics
    assert inputs.valid.tolist() == pytest.approx([1.0, 0.25, 0.75])
    alone = data.parts["two"].moments("inputs").statistics_of([RAIN, WIND])
    assert inputs.mean[2] == pytest.approx(alone.mean[2])
    assert data.shares == [0.25, 0.75]


def test_moments_of_one_source_twice_are_its_own():
    part = Moments.of(FIRST, [RAIN], LatLonGrid.from_dataset(FIRST), progress=False)
    both = Moments.together([part, part], [1.0, 5.0])
    np.testing.assert_allclose(both.sums, part.sums, rtol=1e-12)


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        ({}, "expected sources by name"),
        ({"a/b": {"fine": FIRST}}, "expected names of letters"),
        ({"a": FIRST}, "data.sources.a: expected keys and values"),
        ({"a": {"fine": FIRST, "fin": 1}}, "data.sources.a has no key 'fin'; did you mean 'fine'"),
        (
            {"a": {"fine": FIRST, "weight": 0}},
            "expected a number of more than 0, less than 1e9, found 0",
        ),
        ({"a": {"fine": FIRST, "weight": 1e9}}, "less than 1e9, found 1000000000.0"),
        ({"a": {"fine": FIRST, "weight": 1.0}, "b": {"fine": SECOND}}, "b has no weight"),
        ({"a": {"train": ["2001-01-01", "2001-01-02"]}}, "data.sources.a: data.fine: expected"),
        ({"a": {"fine": FIRST, "batch_size": 2.5}}, "a.batch_size: expected a whole number"),
        ({"a": {"fine": FIRST, "tile": True}}, "a.tile: expected a whole number, or none"),
        ({"a": {"fine": FIRST, "cache": "no"}}, "a.cache: expected true, false or auto"),
        ({"a": {"fine": FIRST, "train": 2000}}, "a.train: expected two dates"),
        ({"a": {"fine": FIRST, "units": ["mm"]}}, "a.units: expected units by name"),
    ],
)
def test_sources_that_cannot_be(sources, text):
    with pytest.raises(InputError) as error:
        PairDataModule(sources=sources, **NAMES)
    assert text in str(error.value)


def test_a_store_beside_the_sources_is_refused():
    with pytest.raises(InputError, match=r"data\.fine stands beside data\.sources"):
        PairDataModule(FIRST, sources={"a": {"fine": FIRST}}, **NAMES)


def test_sources_that_share_no_input_are_refused():
    other = store(12, 4, 30.0, RAIN, WIND)
    data = module({"fine": FIRST[[RAIN, WARM, "orography"]]}, {"fine": other},
                  inputs=[WARM, WIND])  # fmt: skip
    with pytest.raises(InputError, match="shares no input with the others"):
        data.setup("fit")


def test_a_mistake_names_its_source():
    data = module(second={"train": ["2031-01-01", "2031-01-09"]})
    with pytest.raises(InputError, match=r"^data\.sources\.two: "):
        data.setup("fit")


def test_sources_without_statics():
    data = module(static_names=[])
    data.setup("fit")
    assert data.joint.of("statics", "").mean.shape == (0,)


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_not_each_source_has_to_be_scored(stage):
    second = {"validate": None, "test": None, "weight": 1.0}
    first = {"validate": ["2001-01-15", "2001-01-18"], "test": ["2001-01-20", "2001-01-20"]}
    data = module(first | {"weight": 1.0}, second)
    data.setup(stage)
    loaders = data.val_dataloader() if stage == "validate" else data.test_dataloader()
    assert [{batch.source for batch in loader} for loader in loaders] == [{0}]
    assert list(data.scored(stage)) == ["one"]
    assert "train" not in data.parts["two"]._datasets  # nothing is read that is not asked for
    with pytest.raises(InputError, match=f"The split {stage} has no period"):
        module({"validate": None, "weight": 1.0}, second).setup(stage)


def test_predictions_open_the_first_source_alone():
    data = module({"predict": ["2001-01-20", "2001-01-20"]}, {"fine": "nowhere.nc"})
    data.setup("predict")
    assert len(data.dataset("predict")) == 1


def test_other_weights_cannot_go_on_within_an_epoch():
    place = mixed([8, 5], [1.0, 1.0]).place(1, 2)
    with pytest.raises(SharedError, match=r"batches per epoch \(weights\)"):
        mixed([8, 5], [3.0, 1.0]).go_on(place)
    with pytest.raises(SharedError, match="samples, now"):
        mixed([7, 6], [1.0, 1.0]).go_on(place)
