"""Sources for tasks: which is for which, and what each wants of its source."""

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid

RAIN, WARM, WIND = "total_precipitation_24hr", "2m_temperature", "10m_wind_speed"
NAMES = {
    "inputs": [RAIN, WARM, WIND], "targets": [RAIN], "static_names": ["orography"], "factor": 2,
}  # fmt: skip
TASKS = {"rain": {}, "heat": {"targets": [WARM, RAIN], "statics": [], "factor": 4}}


def store(days, rows, west, seed):
    """Return fields of a region of its own."""
    random = np.random.default_rng(seed)
    grid = LatLonGrid.from_edges(np.linspace(50, 40, rows + 1), west + np.linspace(0, 10, 9))
    values = {
        RAIN: ("mm", random.gamma(0.6, 4.0, (days, rows, 8))),
        WARM: ("K", 280 + 5 * random.standard_normal((days, rows, 8))),
        "orography": ("m", 500 * random.random((rows, 8))),
    }
    times = np.datetime64("2001-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D")
    return xr.Dataset(
        {
            name: (("time", "lat", "lon")[3 - part.ndim :], part.astype("f4"), {"units": unit})
            for name, (unit, part) in values.items()
        },
        {"time": times, **grid.coordinates()},
    )


SOURCES = {
    name: {"fine": store(20, rows, west, number), "train": ["2001-01-01", "2001-01-14"],
           "validate": ["2001-01-15", "2001-01-20"], "weight": weight, "task": task}
    for number, (name, rows, west, weight, task) in enumerate([
        ("one", 8, 0.0, 1.0, "rain"), ("two", 4, 30.0, 3.0, "heat"),
        ("three", 8, 60.0, 2.0, "rain"),
    ])
}  # fmt: skip


def module(sources=None, tasks=TASKS, **options):
    given = SOURCES if sources is None else sources
    return PairDataModule(sources=given, batch_size=4, tasks=tasks, **{**NAMES, **options})


def without(source, *keys):
    return {key: value for key, value in SOURCES[source].items() if key not in keys}


@pytest.fixture(scope="module")
def data():
    found = module()
    found.setup("fit")
    return found


def test_batches_are_for_the_task_of_their_source(data):
    seen = set()
    for batch in data.train_dataloader():
        name = [*SOURCES][batch.source]
        assert batch.task == SOURCES[name]["task"]
        fine = SOURCES[name]["fine"]
        targets = {"rain": [RAIN], "heat": [WARM, RAIN]}[batch.task]
        days = [np.datetime64(int(time), "s") for time in batch.time]
        expected = np.stack([fine[target].sel(time=days).values for target in targets], 1)
        np.testing.assert_array_equal(batch.fine, expected)
        factor = {"rain": 2, "heat": 4}[batch.task]
        assert batch.coarse.shape[2] * factor == fine.sizes["lat"]
        assert batch.coarse.shape[1] == 3
        assert (batch.statics is None) == (batch.task == "heat")
        seen.add(name)
    assert seen == {*SOURCES}


def test_statistics_of_targets_are_those_of_the_tasks_own_sources(data):
    """Each by its weight, of the fine fields of the training period."""

    def mean(target, names, transform):
        found, total = 0.0, sum(SOURCES[name]["weight"] for name in names)
        for name in names:
            fine = SOURCES[name]["fine"]
            area = LatLonGrid.from_dataset(fine).weights
            values = transform(fine[target].values[:14].astype(float))
            part = (values * area).sum() / (area * np.ones(values.shape)).sum()
            found += SOURCES[name]["weight"] / total * part
        return found

    rain, heat = (data.joint.of("targets", task) for task in TASKS)
    assert rain.mean == pytest.approx([mean(RAIN, ["one", "three"], np.log1p)], rel=1e-6)
    expected = [mean(WARM, ["two"], np.asarray), mean(RAIN, ["two"], np.log1p)]
    assert heat.mean == pytest.approx(expected, rel=1e-6)
    areas = {name: LatLonGrid.from_dataset(SOURCES[name]["fine"]).weights for name in SOURCES}
    heights = {name: SOURCES[name]["fine"].orography.values.astype(float) for name in SOURCES}
    known = [(heights[n] * areas[n]).sum() / (areas[n] * np.ones((1, 8))).sum()
             for n in ("one", "three")]  # fmt: skip
    expected = (known[0] + 2 * known[1]) / 3
    assert data.joint.of("statics", "rain").mean == pytest.approx([expected], rel=1e-6)


def test_statistics_of_inputs_are_over_all_sources(data):
    factors = {"one": 2, "two": 4, "three": 2}
    means, total = [], sum(own["weight"] for own in SOURCES.values())
    for name, own in SOURCES.items():
        fine = own["fine"][WARM].isel(time=slice(0, 14)).astype(float)
        area = LatLonGrid.from_dataset(own["fine"]).weights
        weighted = (fine * area).coarsen(lat=factors[name], lon=factors[name]).sum()
        means.append(own["weight"] / total * float((weighted.sum() / area.sum()) / 14))
    assert data.input_statistics.mean[1] == pytest.approx(sum(means), rel=1e-6)


def test_what_is_predicted_is_of_a_task_that_is_said():
    predicted = {"predict": ["2001-01-20", "2001-01-20"]}
    data = module({name: own | predicted for name, own in SOURCES.items()})
    assert data.first is data.parts["one"]
    assert data.choose("heat") == "heat"
    data.setup("predict")
    assert data.first is data.parts["two"]
    assert "pairs" not in data.parts["one"].__dict__  # others are not opened
    assert [*data.fine_dataset("predict").data_vars] == [WARM, RAIN]
    with pytest.raises(InputError, match=r"the config has 2 tasks \(rain, heat\): state it"):
        data.choose(None, "it")


def test_a_task_that_no_validation_scores_is_told(caplog):
    sources = SOURCES | {"two": SOURCES["two"] | {"validate": None}}
    with caplog.at_level("INFO"):
        module(sources).setup("fit")
    told = [text for text in caplog.messages if "validation period" in text]
    assert told == [
        "No source of the task heat has a validation period "
        "(data.sources.NAME.validate): the best checkpoint is chosen without it."
    ]


def test_one_task_needs_no_name():
    data = module({"one": without("one", "task")}, {"rain": {"factor": 4}})
    assert [*data.assignment.tasks.values()] == ["rain"]
    data.setup("fit")
    assert next(iter(data.train_dataloader())).task == "rain"
    store = SOURCES["one"]["fine"]
    alone = PairDataModule(store, tasks={"rain": {}}, train=["2001-01-01", "2001-01-14"], **NAMES)
    assert alone.first.task == "rain"
    plain = module({"one": without("one", "task")}, None)
    plain.setup("fit")
    assert next(iter(plain.train_dataloader())).task is None


@pytest.mark.parametrize(
    ("sources", "tasks", "text"),
    [
        (SOURCES, {**TASKS, "snow": {}}, "tasks.snow has no source to learn from: state one"),
        (SOURCES | {"two": without("two", "task")}, TASKS,
         "model.network.tasks has 2 tasks (rain, heat): state data.sources.two.task, one of them"),
        (SOURCES | {"two": SOURCES["two"] | {"task": "heta"}}, TASKS,
         "data.sources.two.task heta: model.network.tasks has no such task, it has rain, heat; did "
         "you mean 'heat'?"),
        (SOURCES | {"two": SOURCES["two"] | {"task": 3}}, TASKS, "expected the name of a task"),
        (SOURCES, None, "data.sources.one.task rain: model.network has no named tasks; leave it"),
        (SOURCES, {"rain": {"factor": "2"}, "heat": {}}, "rain.factor: expected a whole number"),
        (SOURCES, {"rain": {"targets": RAIN}, "heat": {}}, "rain.targets: expected a list"),
    ],
)  # fmt: skip
def test_assignments_that_cannot_be(sources, tasks, text):
    with pytest.raises(InputError) as error:
        module(sources, tasks)
    assert text in str(error.value)


def test_a_store_alone_cannot_be_for_several_tasks():
    with pytest.raises(InputError, match=r"state data\.sources\.NAME\.task"):
        PairDataModule(SOURCES["one"]["fine"], tasks=TASKS, **NAMES)


def test_a_factor_that_does_not_fit_names_source_and_task():
    coarse = SOURCES["two"]["fine"].coarsen(lat=2, lon=2).mean()
    data = module(SOURCES | {"two": SOURCES["two"] | {"coarse": coarse}})
    with pytest.raises(InputError, match=r"^data\.sources\.two \(task heat, factor 4\): ") as error:
        data.setup("fit")
    assert "does not nest" in str(error.value)


def test_the_task_goes_with_a_batch_to_other_places(data):
    batch = next(iter(data.train_dataloader()))
    assert batch.to("cpu").task == batch.task
    parts = [part.dataset("train")[0] for part in [data.parts["two"]] * 2]
    assert type(batch).collate(parts).task == "heat"
    assert torch.equal(type(batch).collate(parts).fine[0], parts[0].fine[0])
