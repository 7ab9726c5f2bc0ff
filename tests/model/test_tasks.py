"""Several decoders on one trunk: the numbers of networks apart, and bundles that give one."""

import json
import pickle

import fsspec
import pytest
import torch

import orbitlite
from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.info import info
from orbitlite.model.bundle import load_bundle, save_bundle, save_tasks
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.outline import count_weights
from orbitlite.model.statics import Statics
from orbitlite.model.tasks import Tasks

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"
COMMON = {
    "inputs": [RAIN, WARM, "specific_humidity_850"], "embed_dim": 16, "depth": 2, "num_heads": 2,
    "decoder_features": 8, "decoder_blocks": 1,
}  # fmt: skip
OWN = {
    "rain": {"targets": [RAIN], "statics": ["orography", "land_sea_mask"], "factor": 4,
             "constraint": "conserve"},
    "heat": {"targets": [WARM, RAIN], "statics": ["land_sea_mask"], "factor": 2,
             "constraint": "none", "decoder_features": 16},
}  # fmt: skip
EXTRAS = [{}, {"tokens": 0.5, "max_leaf": 2}, {"noise": 2}, {"tokens": 8, "saliency": "learned"}]
MEANS = {"rain": ([1.0], [0.7]), "heat": ([280.0, 1.1], [6.0, 0.8])}


def network(**extra):
    torch.manual_seed(4)
    found = Tasks(DownscalerConfig(**COMMON, **extra, tasks=OWN))
    for weight in found.parameters():  # a new decoder makes nothing of its tokens
        torch.nn.init.normal_(weight, std=0.2)
    for task, one in found.tasks.items():
        mean, std = MEANS[task]
        one.set_statistics(input_mean=[1.0, 280.0, 0.005], input_std=[0.9, 8.0, 0.003],
                           target_mean=mean, target_std=std)  # fmt: skip
    return found


def apart(tasks, task, **extra):
    """Build the network of one task without the others, and copy its weights one by one."""
    found = Downscaler(DownscalerConfig(**{**COMMON, **OWN[task], **extra}))
    given = tasks.state_dict()
    with torch.no_grad():
        for name, value in found.state_dict().items():
            own = f"tasks.{task}.{name}"
            value.copy_(given[own] if own in given else given[name])
    return found


def batch(task, seed=0):
    torch.manual_seed(seed)
    factor, count = OWN[task]["factor"], len(OWN[task]["statics"])
    coarse = torch.stack([5 * torch.rand(2, 6, 8), 280 + 9 * torch.randn(2, 6, 8),
                          0.01 * torch.rand(2, 6, 8)], dim=1)  # fmt: skip
    coarse[0, 1, 2, 3] = torch.nan
    return Batch(
        coarse=coarse, statics=torch.randn(2, count, 6 * factor, 8 * factor),
        lat_edges=torch.linspace(46, 40, 7).expand(2, -1),
        lon_edges=torch.linspace(3, 11, 9).expand(2, -1),
        time=torch.tensor([0.0, 86400.0]), task=task,
    )  # fmt: skip


@pytest.mark.parametrize("extra", EXTRAS, ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_tasks_give_the_numbers_of_networks_apart(extra, training):
    tasks = network(**extra).train(training)
    alone = {task: apart(tasks, task, **extra).train(training) for task in OWN}
    for task, one in alone.items():
        ours, theirs = tasks(batch(task)), one(batch(task))
        assert ours.shape == theirs.shape
        assert torch.equal(ours.nan_to_num(), theirs.nan_to_num())
        assert ours.nan_to_num().std() > 0
        assert tasks.known(batch(task)).equal(one.known(batch(task)))
        if not training:
            copied = tasks.alone(task)(batch(task))
            assert torch.equal(copied.nan_to_num(), theirs.nan_to_num())


@pytest.mark.parametrize("task", OWN)
def test_leaves_follow_the_statics_that_a_task_has(task):
    """The saliency sees those of `saliency_channels`, wherever they stand among a task's own."""
    tasks = network(tokens=0.5, max_leaf=2, saliency_channels=["land_sea_mask"]).eval()
    flat, cliff = batch(task), batch(task)
    place = OWN[task]["statics"].index("land_sea_mask")
    factor = OWN[task]["factor"]
    flat.statics = torch.zeros_like(flat.statics)
    cliff.statics = torch.zeros_like(flat.statics)
    cliff.statics[:, place, -2 * factor :, -2 * factor :] = torch.rand(2 * factor, 2 * factor)
    scores = [tasks.of(one).leaves(one, 0.5)[1] for one in (flat, cliff)]
    assert bool((scores[0] == 0).all())
    assert scores[1].flatten(1).argmax(1).tolist() == [scores[1][0].numel() - 1] * 2


def test_the_trunk_learns_from_all_tasks_and_a_decoder_from_its_own():
    tasks = network()
    alone = {task: apart(tasks, task) for task in OWN}
    for task, one in alone.items():
        for net in (tasks, one):
            net(batch(task), fill=True).square().mean().backward()
    for name, weight in tasks.named_parameters():
        if name.startswith("tasks."):
            task, own = name.split(".", 2)[1:]
            expected = alone[task].get_parameter(own).grad
        else:
            expected = sum(one.get_parameter(name).grad for one in alone.values())
        torch.testing.assert_close(weight.grad, expected)
    tasks.zero_grad(set_to_none=True)
    tasks(batch("rain"), fill=True).sum().backward()
    unused = [weight.grad for name, weight in tasks.named_parameters() if ".heat." in name]
    assert unused
    assert all(gradient is None for gradient in unused)


def test_the_trunk_counts_once():
    tasks, own = network(), [Downscaler(one) for one in network().config.of_tasks.values()]
    trunk = sum(p.numel() for n, p in tasks.named_parameters() if not n.startswith("tasks."))
    size = [sum(weight.numel() for weight in one.parameters()) for one in own]
    assert sum(weight.numel() for weight in tasks.parameters()) == sum(size) - trunk
    assert count_weights(tasks.config) == sum(size) - trunk
    assert tasks.state_dict().keys() >= {"input_mean", "norm.weight", "tasks.rain.blend"}
    assert "tasks.rain.input_mean" not in tasks.state_dict()


def test_a_batch_goes_to_the_task_that_it_names():
    tasks = network()
    nameless = batch("rain")
    nameless.task = None
    with pytest.raises(InputError, match=r"2 tasks \(rain, heat\)"):
        tasks(nameless)
    nameless.task = "head"
    with pytest.raises(InputError, match=r"no such task.*did you mean 'heat'"):
        tasks(nameless)
    only = Tasks(DownscalerConfig(**COMMON, tasks={"rain": OWN["rain"]}))
    nameless.task = None
    assert only(nameless).shape == (2, 1, 1, 24, 32)


def test_configs_come_and_go():
    config = network(saliency_channels=[RAIN, "orography"]).config
    again = DownscalerConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.conflicts(again) == []
    assert config.of_tasks["heat"].saliency_channels == (RAIN,)
    plain = DownscalerConfig(**COMMON)
    assert "tasks" not in plain.to_dict()
    assert plain.of_tasks == {"": plain}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dropout": 0.3}, []),
        ({"depth": 1}, ["depth"]),
        ({"tasks": {"rain": OWN["rain"]}}, ["tasks"]),
        ({"tasks": {**OWN, "heat": {**OWN["heat"], "factor": 3}}}, ["tasks"]),
        ({"tasks": {**OWN, "heat": {**OWN["heat"], "constraint": "nonnegative"}}}, []),
    ],
)
def test_conflicts(change, named):
    ours = DownscalerConfig(**COMMON, tasks=OWN)
    assert ours.conflicts(DownscalerConfig(**{**COMMON, "tasks": OWN, **change})) == named
    assert "tasks" in ours.conflicts(DownscalerConfig(**COMMON))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"tasks": {}}, "expected tasks by name"),
        ({"tasks": ["rain"]}, "expected tasks by name"),
        ({"tasks": {"a.b": {}}}, "expected names of letters"),
        ({"tasks": {"Rain": {}, "rain": {}}}, "two tasks are called rain"),
        ({"tasks": {"train": {}}}, "a module of torch has a train"),
        ({"tasks": {"rain": 4}}, "tasks.rain: expected keys and values"),
        ({"tasks": {"rain": {"factr": 4}}}, "tasks.rain has no key 'factr'; did you mean 'factor'"),
        ({"tasks": {"rain": {"depth": 4}}}, "tasks.rain has no key 'depth'; it may have"),
        ({"tasks": {"rain": {"targets": [RAIN, RAIN]}}}, "rain.targets: each name may stand"),
        (
            {"tasks": {"rain": {"factor": 0}}},
            "network.tasks.rain: factor: expected 1 or more",
        ),
        (
            {"tasks": {"rain": {"targets": ["snowfall"], "constraint": "conserve"}}},
            "conserve needs",
        ),
        (
            {"tasks": {"a": {}, "b": {"nonnegative": [], "constraint": "none"}}},
            f"{RAIN} has no negative values in a and may have some in b",
        ),
        ({"tasks": {"a": {}}, "ridge": [6, 8]}, "ridge is of one decoder"),
        ({"tasks": {"a": {}}, "trunk": "unet"}, "tasks share the trunk vit, found trunk unet"),
        ({"tasks": OWN, "saliency_channels": ["snowfall"]}, "neither an input nor a fine static"),
        ({"tasks": OWN, "log1p": ["snowfall"]}, "snowfall"),
    ],
)
def test_tasks_that_cannot_be(changes, text):
    with pytest.raises(InputError) as error:
        DownscalerConfig(**{**COMMON, **changes})
    assert text in str(error.value)


def fields(task, value):
    """Return statics of 6 x 8 coarse cells of a task."""
    factor, count = OWN[task]["factor"], len(OWN[task]["statics"])
    rows, columns = 6 * factor, 8 * factor
    return Statics(
        torch.full((count, rows, columns), value), torch.linspace(46, 40, rows + 1).double(),
        torch.linspace(3, 11, columns + 1).double(),
    )  # fmt: skip


METADATA = {
    "parameters": 9, "created": "today",
    "tasks": {
        "rain": {"parameters": 5, "training": {"period": ["2000", "2001"], "times": 3}},
        "heat": {"parameters": 6, "training": {"accumulate": "24h", "context": 2}},
    },
}  # fmt: skip


def saved(path, tasks=None):
    statics = {"rain": fields("rain", 2.0), "heat": fields("heat", 3.0)}
    save_tasks(path, tasks or network(), metadata=METADATA, statics=statics)


@pytest.mark.parametrize("remote", [False, True])
def test_a_bundle_gives_one_task_as_a_plain_network(tmp_path, remote):
    path = f"memory://bundles/{tmp_path.name}" if remote else tmp_path / "bundle"
    tasks = network()
    saved(path, tasks)
    for task, number in (("rain", 2.0), ("heat", 3.0)):
        found = load_bundle(path, task)
        assert type(found.model) is Downscaler
        assert (found.task, found.scores) == (task, {})
        expected = apart(tasks, task).eval()
        assert torch.equal(found.model(batch(task), fill=True), expected(batch(task), fill=True))
        assert found.statics.values.unique().tolist() == [number]
        assert found.metadata == {"created": "today", **METADATA["tasks"][task]}
    assert load_bundle(path, "rain").identity != load_bundle(path, "heat").identity
    store, root = fsspec.core.url_to_fs(str(path))
    card = store.cat_file(f"{root}/README.md").decode()
    assert "2 tasks: rain, heat" in card
    assert 'task="rain"' in card
    assert "Targets by a factor of 2: 2m_temperature, total_precipitation_24hr" in card


def test_nothing_of_the_other_tasks_is_read(tmp_path):
    """Neither their tensors nor their files: the bundle loads without them."""
    saved(tmp_path / "b")
    (tmp_path / "b" / "task_heat.safetensors").unlink()
    (tmp_path / "b" / "statics_heat.safetensors").write_bytes(b"damaged")
    found = load_bundle(tmp_path / "b", "rain")
    wanted = {name for name in found.model.state_dict() if name.startswith(("decoder", "blend"))}
    assert wanted
    with pytest.raises(InputError, match=r"no file task_heat\.safetensors"):
        load_bundle(tmp_path / "b", "heat")


def test_the_trunk_is_in_one_file_and_a_decoder_in_its_own(tmp_path):
    from safetensors import safe_open

    tasks = network()
    saved(tmp_path / "b", tasks)
    held = {}
    for file in ("model", "task_rain", "task_heat"):
        with safe_open(tmp_path / "b" / f"{file}.safetensors", "pt") as tensors:
            held[file] = {*tensors.keys()}
    names = {name for name in tasks.state_dict() if not name.startswith("tasks.")}
    assert held["model"] == names
    assert held["task_heat"] == {
        name.removeprefix("tasks.heat.") for name in tasks.state_dict() if ".heat." in name
    }
    assert not held["model"] & (held["task_rain"] | held["task_heat"])


def test_which_task_has_to_be_said_if_there_are_several(tmp_path):
    saved(tmp_path / "b")
    with pytest.raises(InputError, match=r"has 2 tasks \(rain, heat\): state task, one of them$"):
        orbitlite.load(tmp_path / "b")
    with pytest.raises(InputError, match=r"task snow: .* has no such task, it has rain, heat$"):
        orbitlite.load(tmp_path / "b", task="snow")
    only = Tasks(DownscalerConfig(**COMMON, tasks={"rain": OWN["rain"]}))
    save_tasks(tmp_path / "one", only, metadata={}, statics={"rain": fields("rain", 1.0)})
    assert orbitlite.load(tmp_path / "one").task == "rain"
    save_bundle(tmp_path / "plain", only.alone("rain"), metadata={}, statics=fields("rain", 1.0))
    assert orbitlite.load(tmp_path / "plain").task == ""
    with pytest.raises(InputError, match="has no named tasks; leave it out"):
        orbitlite.load(tmp_path / "plain", task="rain")


def test_a_bundle_of_other_tasks_leaves_no_file_behind(tmp_path):
    saved(tmp_path / "b")
    only = Tasks(DownscalerConfig(**COMMON, tasks={"rain": OWN["rain"]}))
    save_tasks(tmp_path / "b", only, metadata={}, statics={})
    names = {entry.name for entry in (tmp_path / "b").iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "task_rain.safetensors"}
    save_bundle(tmp_path / "b", only.alone("rain"), metadata={})
    names = {entry.name for entry in (tmp_path / "b").iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors"}


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda record: record["metadata"].update(tasks=[1]), "metadata.tasks: expected"),
        (lambda record: record["metadata"]["tasks"].update(heat=1), "metadata: expected"),
        (
            lambda record: record["metadata"]["tasks"]["heat"]["training"].update(context="x"),
            "context: expected",
        ),
        (lambda record: record["config"].update(tasks="rain"), "tasks: expected tasks by name"),
        (
            lambda record: record["sha256"].update({"../x.safetensors": "0" * 64}),
            "sha256: expected",
        ),
        (lambda record: record["sha256"].pop("task_rain.safetensors"), "does not list task_rain"),
        (lambda record: record["config"]["tasks"]["rain"].update(factor=2), "does not fit"),
    ],
)
def test_a_record_that_anyone_may_have_written(tmp_path, damage, text):
    saved(tmp_path / "b")
    path = tmp_path / "b" / "config.json"
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(InputError) as error:
        load_bundle(tmp_path / "b", "rain")
    assert text in str(error.value)


def test_files_of_two_tasks_that_changed_places_are_noticed(tmp_path):
    saved(tmp_path / "b")
    one, other = (tmp_path / "b" / f"task_{task}.safetensors" for task in ("rain", "heat"))
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
    with pytest.raises(InputError, match=r"task_rain\.safetensors"):
        load_bundle(tmp_path / "b", "rain")


def test_info_lists_the_tasks(tmp_path):
    from rich.console import Console

    saved(tmp_path / "b")
    console = Console(width=150, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(info(str(tmp_path / "b")))
    text = console.export_text()
    assert f"{RAIN} by a factor of 4, constraint conserve, statics orography, land_sea_mask" in text
    assert f"{WARM}, {RAIN} by a factor of 2, constraint none" in text
    assert "rain: training period" in text
    assert "heat: accumulate" in text
