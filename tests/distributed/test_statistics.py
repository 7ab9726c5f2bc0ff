"""Statistics that processes read together: those of one, bit for bit, each block read once."""

import numpy as np
import pytest
import xarray as xr

from orbitlite.data import statistics
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.world import generate
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel.channels import inputs_of_rank
from orbitlite.parallel.mesh import ParallelConfig, Ranks, mesh_of_world
from orbitlite.training.normalisation import hold_samples, normalise, whole_ranges

pytestmark = [pytest.mark.dist, pytest.mark.slow]

RAIN = "total_precipitation_24hr"
INPUTS = [RAIN, "2m_temperature", "temperature_850", "temperature_500", "specific_humidity_850"]
CONFIG = DownscalerConfig(
    inputs=INPUTS, targets=[RAIN], statics=["orography"], factor=4, embed_dim=8, depth=1,
    num_heads=2, channel_groups=3,
)  # fmt: skip
TRAIN = {"train": ["2000-01-01", "2000-01-20"], "validate": ["2000-01-21", "2000-01-22"]}
LAYOUTS = {
    2: [ParallelConfig(), ParallelConfig(sequence=2)],
    4: [ParallelConfig(), ParallelConfig(tensor=2), ParallelConfig(sequence=2)],
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Two stores of unequal size, one without a level, with holes in the rain of the other."""
    folder = tmp_path_factory.mktemp("stores")
    first = generate(22, 16, 32)
    first[RAIN][5:8, 4:9] = np.nan
    second = generate(22, 24, 48, seed=1, levels=[850])
    for name, store in (("first", first), ("second", second)):
        store.to_netcdf(folder / f"{name}.nc")
    return [str(folder / f"{name}.nc") for name in ("first", "second")]


def opened(paths, **more):
    names = {"inputs": INPUTS, "targets": [RAIN], "static_names": ["orography"], "factor": 4}
    if len(paths) == 1:
        return PairDataModule(paths[0], **names, **TRAIN, cache=True, **more)
    sources = {f"s{number}": {"fine": path} for number, path in enumerate(paths)}
    return PairDataModule(sources=sources, **names, **TRAIN, cache=True, **more)


def on_a_rank(rank, size, paths, layouts):
    """Return normalisation, sums of each source by channel, ranges, and blocks read."""
    statistics.BLOCK_BYTES = 2**11
    read, whole = [], statistics._summed
    statistics._summed = lambda names, block, *rest: (
        read.append(
            (tuple(names), str(block.sizes), str(block.get("time", xr.DataArray(0)).values))
        )
        or whole(names, block, *rest)
    )
    found = []
    for layout, used in layouts:
        ranks = Ranks() if size == 1 else mesh_of_world(layout)
        data, network = opened(paths[:used]), Downscaler(CONFIG)
        if size > 1:
            data.share(ranks.data_rank, ranks.sizes.data)
        if ranks.sizes.tensor > 1:
            data.restrict(inputs_of_rank(CONFIG, ranks.sizes.tensor, ranks.tensor_rank))
            network.columns = [INPUTS.index(name) for name in data.pairing.inputs]
        data.setup("fit")
        if size > 1:
            assert not read  # the others are not known yet
        hold_samples(data, ranks, True)
        normalise(network, data, ranks, None)
        sums = {
            (source, role, name): row.tolist()
            for source, part in data.parts.items()
            for role in ("inputs", "targets", "statics")
            for name, row in zip(part.moments(role).channels, part.moments(role).sums, strict=True)
        }
        ranges = whole_ranges(network, data, ranks)
        buffers = {n: b for n, b in network.named_buffers() if n.endswith(("_mean", "_std"))}
        found.append(({n: b.tolist() for n, b in buffers.items()}, sums, ranges, read.copy()))
        read.clear()
    return found


@pytest.mark.parametrize("size", LAYOUTS)
def test_processes_are_one_bit_for_bit(ranks, paths, size):
    cases = [(layout, 1 if layout.tensor > 1 else 2) for layout in LAYOUTS[size]]
    results = ranks(size, on_a_rank, paths, cases)
    alone = ranks(1, on_a_rank, paths, cases)[0]
    for number, (layout, _) in enumerate(cases):
        buffers, sums, ranges, blocks = alone[number]
        assert len(blocks) > 12
        read = []
        # Blocks are cut by the bytes of the channels that are read.
        near = {"rel": 1e-6 if layout.tensor > 1 else 0.0, "abs": 0.0}
        for own in (result[number] for result in results):
            assert own[0] == results[0][number][0]
            for name, values in own[0].items():
                assert values == pytest.approx(buffers[name], **near)
            for key, row in own[1].items():
                assert row == pytest.approx(sums[key], **near)
            assert own[2] == ranges
            read += own[3]
        assert {key for result in results for key in result[number][1]} == set(sums)
        if layout.tensor == 1:
            assert sorted(read) == sorted(blocks)
            counts = [len(result[number][3]) for result in results]
            assert max(counts) - min(counts) <= 6  # one of each source and role


def test_the_moments_are_those_of_numpy(ranks, paths):
    """Of the world at once, with weights of area; two processes."""
    found = ranks(2, on_a_rank, paths, [(ParallelConfig(), 1)])[1][0][1]
    data = opened(paths[:1])
    data.setup("fit")
    pairs = data.dataset("train").pairs
    values = np.log1p(pairs.fine[RAIN].values.astype(np.float64))
    weights = np.broadcast_to(pairs.fine_grid.weights, values.shape)
    valid = np.isfinite(values)
    assert not valid.all()
    mean = np.average(values[valid], weights=weights[valid])
    share, own, square, low, high = found["", "targets", RAIN]
    assert own == pytest.approx(mean, rel=1e-9)
    variance = np.cov(values[valid], aweights=weights[valid], ddof=0)
    assert square / share == pytest.approx(variance, rel=1e-9)
    assert share == pytest.approx(weights[valid].sum() / weights.sum(), rel=1e-12)
    raw = pairs.fine[RAIN].values
    assert (low, high) == (np.nanmin(raw), np.nanmax(raw))


def broken_on_a_rank(rank, size, paths):
    statistics.BLOCK_BYTES = 2**11
    ranks, data = mesh_of_world(ParallelConfig()), opened(paths[:1])
    data.share(ranks.data_rank, ranks.sizes.data)
    data.setup("fit")
    hold_samples(data, ranks, True)
    if rank == 1:
        coarse = data.dataset("train").pairs.coarse
        coarse["2m_temperature"] = damaged(coarse["2m_temperature"])
    try:
        normalise(Downscaler(CONFIG), data, ranks, None)
    except InputError as error:
        return type(error).__name__, str(error)
    return "", ""


def damaged(field):
    def refuse(block):
        raise InputError("the file x is damaged")

    values = field.chunk(time=1).data
    nothing = np.zeros((0,) * values.ndim, np.float32)
    return field.copy(data=values.map_blocks(refuse, dtype=np.float32, meta=nothing))


def test_a_mistake_of_one_ends_all(ranks, paths):
    found = ranks(2, broken_on_a_rank, paths)
    assert found == [("SharedError", "the file x is damaged")] * 2
