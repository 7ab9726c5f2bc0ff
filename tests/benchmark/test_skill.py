"""The benchmark of skill: the same pairs, loss and time for all, its rows, command and picture."""

import argparse
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from orbitlite.benchmark import comparison, skill, timed_fit
from orbitlite.benchmark.peers.bilinear import Bilinear
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.benchmark.pictures import draw
from orbitlite.benchmark.session import Session
from orbitlite.benchmark.skill_picture import draw_skill, spread
from orbitlite.benchmark.task import Task
from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.notice import OrbitliteWarning
from orbitlite.training.optimisation import Optimisation
from orbitlite.verification.evaluation import evaluate
from orbitlite.verification.spectra import Spectrum

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def task(write_task):
    return Task.of(write_task(), CPU)


@pytest.fixture
def ticking(monkeypatch):
    """Let every step take a second, whatever the machine does."""

    class Clock:
        now = 0.0

        def __call__(self):
            self.now += 1.0
            return self.now

    monkeypatch.setattr(timed_fit, "clock_of", lambda device: Clock())


def build(name, task):
    torch.manual_seed(0)
    return comparison._TRAINED[name](comparison.Size.of(task.data), task)


def no_bar(count):
    pass


def test_a_fit_takes_the_time_that_it_is_given(task, ticking, monkeypatch):
    told, rates = [], []
    network = build("ours", task)
    validated = []
    monkeypatch.setattr(Task, "validate", lambda self, net: validated.append(sum(told)) or 1.0)
    step = torch.optim.AdamW.step

    def seen(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", seen)
    found = timed_fit.fit(
        network, task, Optimisation(lr=0.5, warmup=0.25), 8.0, checks=4, advance=told.append
    )
    assert found.seconds == 8
    assert found.samples == 8 * 4
    assert sum(told) == 8
    assert validated == [2, 4, 6, 8]
    cosine = [0.5 * (0.01 + 0.99 * (1 + np.cos(np.pi * t / 6)) / 2) for t in range(6)]
    assert rates == pytest.approx([0.5 / 2500, 0.25, *cosine], rel=1e-3)


def test_the_weights_of_the_best_validation_are_kept(write_task, ticking, monkeypatch):
    task = Task.of(write_task(ema={"decay": 0.0}), CPU)
    network, states = build("edsr", task), []
    scores = iter([3.0, 1.0, 2.0])

    def validate(self, net):
        states.append({name: value.clone() for name, value in net.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(Task, "validate", validate)
    found = timed_fit.fit(network, task, Optimisation(), 3.0, 3, no_bar)
    assert found.score == 1
    for name, value in network.state_dict().items():
        assert torch.equal(value, states[1][name])
    assert not torch.equal(states[1]["body.head.weight"], states[2]["body.head.weight"])


def test_a_loss_that_is_not_finite_ends_a_fit(task, ticking, monkeypatch):
    nan = torch.tensor(float("nan"))
    monkeypatch.setattr(Task, "loss", lambda self, net, *_: nan * net.body.head.weight.sum())
    with pytest.warns(OrbitliteWarning, match="not finite at the rate 0.0005"):
        found = timed_fit.fit(build("edsr", task), task, Optimisation(), 8.0, 2, no_bar)
    assert found.score == float("inf")


def test_averages_are_those_of_a_fit():
    layer = torch.nn.Linear(2, 1)
    averages, expected = timed_fit.Averages(layer, 0.5), layer.weight.detach().clone()
    for kept in (0.1, 2 / 11, 3 / 12, 4 / 13):
        with torch.no_grad():
            layer.weight += torch.rand(1, 2)
        averages.update()
        expected = kept * expected + (1 - kept) * layer.weight.detach()
    own = layer.weight.detach().clone()
    with averages.shown():
        torch.testing.assert_close(layer.weight.detach(), expected)
    assert torch.equal(layer.weight, own)


def test_all_networks_see_the_same_batches(task, ticking, monkeypatch):
    seen = {}
    loss = Task.loss

    def watched(self, network, batch, step=0):
        seen[name].append(batch.time.tolist())
        return loss(self, network, batch, step)

    monkeypatch.setattr(Task, "loss", watched)
    for name in comparison._TRAINED:
        seen[name] = []
        timed_fit.fit(build(name, task), task, Optimisation(), 7.0, 1, no_bar)
    assert len(seen["ours"]) == 8  # the first one is not counted
    assert all(times == seen["ours"] for times in seen.values())
    assert len(set(map(str, seen["ours"]))) == 8


def test_the_loss_is_that_of_a_fit(write_task, monkeypatch):
    model = {"loss": "bayesian_tv", "loss_space": "transformed", "mixup": 0.4}
    path = write_task()
    text = path.read_text().replace("model:\n", "model:\n  " + "\n  ".join(
        f"{key}: {value}" for key, value in model.items()) + "\n")  # fmt: skip
    path.write_text(text)
    task = Task.of(path, CPU)
    module, batch = task.fresh(), next(iter(task.data.train_dataloader()))
    batch.coarse[0, 0, 2, 2] = torch.nan
    # what a fit divides by, without its trainer
    total = module.expectation.total(len(batch))
    monkeypatch.setattr(module, "_expected_total", lambda number, source: total)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    torch.manual_seed(3)
    expected = module.training_step(batch, 0)
    torch.manual_seed(3)
    assert float(task.loss(module.network, batch)) == pytest.approx(float(expected), rel=1e-6)


def test_truth_that_is_missing_counts_for_nothing(task):
    batch = next(iter(task.data.train_dataloader()))
    assert torch.isnan(batch.fine).any()
    for name in comparison._TRAINED:
        network, given = build(name, task).eval(), []
        handle = network.register_forward_hook(
            lambda module, args, out, given=given: (out.retain_grad(), given.append(out))[0]
        )
        task.loss(network, batch).backward()
        handle.remove()
        missing = torch.isnan(batch.fine)[:, None]
        assert not given[0].grad[missing].any()
        assert given[0].grad[~missing].all()


def test_scores_are_those_of_evaluate(task):
    bilinear = Peer(task.frame, Bilinear(), linear=True)
    found = task.evaluate(bilinear, "test").results["total_precipitation_24hr"]
    truth = task.data.fine_dataset("test")
    same = evaluate(truth, truth, task.data.coarse_dataset("test"), progress=False)
    expected = same.scores["total_precipitation_24hr"]["bilinear"]
    assert found.scores["orbitlite"]["rmse"] == pytest.approx(expected["rmse"])
    assert found.scores["orbitlite"]["cells"] == expected["cells"] == 6 * (16 * 24 - 3)


def test_validation_is_the_score_of_a_fit(task):
    bilinear = Peer(task.frame, Bilinear(), linear=True)
    rmse = task.evaluate(bilinear, "validate").scores["total_precipitation_24hr"]["orbitlite"]
    scale = float(task.frame.target_scale)
    assert task.validate(bilinear) == pytest.approx(rmse["rmse"] / scale, rel=1e-5)


@pytest.mark.parametrize("name", list(comparison._TRAINED))
def test_every_network_learns(task, ticking, name):
    before = task.validate(Peer(task.frame, Bilinear(), linear=True))
    network = build(name, task)
    found = timed_fit.fit(network, task, Optimisation(lr=5e-3), 40.0, 2, no_bar)
    assert found.score < 0.95 * before
    assert task.validate(network) == pytest.approx(found.score, rel=1e-5)


KEYS = {
    "part", "config", "period", "network", "target", "budget_seconds", "seed", "parameters", "rmse",
    "mae", "spectrum_db", "fine_power_ratio", "p99_ratio", "correlation", "flops",
    "seconds_per_sample", "seconds",
}  # fmt: skip


@pytest.mark.slow
def test_command_rows_and_picture(write_task, tmp_path, capsys):
    words = ["--config", str(write_task()), "--seconds", "0.05", "0.1", "--seeds", "0", "1"]
    words += ["--json", str(tmp_path / "skill.json"), "--report", str(tmp_path / "figures")]
    words += ["--networks", "ours", "edsr", "linear", "ridge", "--period", "validate"]
    assert main(["benchmark", "skill", *words, "--repeats", "1"]) == 0
    rows = json.loads((tmp_path / "skill.json").read_text())["rows"]
    solved, trained = rows[:3], rows[3:]
    assert [row["network"] for row in solved] == ["bilinear", "linear", "ridge"]
    found = [(row["budget_seconds"], row["network"], row["seed"]) for row in trained]
    assert found == [(b, n, s) for b in (0.05, 0.1) for n in ("ours", "edsr") for s in (0, 1)]
    assert all(set(row) == KEYS | {"penalty"} for row in solved)
    assert all(set(row) == KEYS | {"samples", "learning_rate"} for row in trained)
    assert {row["learning_rate"] for row in trained[:2]} <= {0.01 / 3, 0.01, 0.03}
    assert len({row["learning_rate"] for row in trained[2:4]}) == 1
    assert all(row["period"] == "validate" and np.isfinite(row["rmse"]) for row in rows)
    assert all(row["seconds"] >= row["budget_seconds"] for row in trained)
    assert solved[0]["parameters"] == solved[0]["flops"] == 0
    assert all(row["flops"] > 0 for row in rows[1:])
    assert (tmp_path / "figures" / "skill.png").stat().st_size > 10_000
    assert "ridge" in capsys.readouterr().out


class Known:
    """An evaluation of which the spectra are known."""

    def __init__(self, rows, degrees, ours, wavelengths):
        one = np.ones(len(wavelengths))
        truth = Spectrum(np.array(wavelengths), one, one * 3, False)
        self.grid = LatLonGrid.from_edges(np.linspace(degrees, 0, rows + 1), [0, 1, 2])
        spectra = {"orbitlite": Spectrum(truth.wavelength, np.array(ours), one * 3, False)}
        self.results = {"rain": SimpleNamespace(spectra=spectra | {"truth": truth})}


def test_power_at_two_to_four_fine_cells():
    km = 111.195
    ring = Known(20, 20, [9, 9, 0.5, 0.25, 9], [8 * km, 4.1 * km, 3 * km, 2 * km, 1.5 * km])
    assert comparison._fine_power_ratio(ring, "rain") == pytest.approx(0.375)
    globe = Known(20, 20, [9, 0.5, 0.25], [9.5 * km, 8 * km, 4.2 * km])
    assert comparison._fine_power_ratio(globe, "rain") == pytest.approx(0.375)


def test_what_cannot_be_built_is_left_out_with_a_warning(write_task, monkeypatch):
    monkeypatch.setattr("orbitlite.benchmark.peers.deepesd._MOST", {10: 1})
    words = str(write_task()), ["deepesd"], [0.1], [0], ["validate"], None
    with (
        Session("cpu", 1, 1, progress=False) as session,
        pytest.warns(OrbitliteWarning, match="deepesd is left out: the dense layer"),
    ):
        rows = list(comparison.rows(*words, session))
    assert [row["network"] for row in rows] == ["bilinear"]


def test_a_rate_that_diverges_everywhere_leaves_a_network_out(write_task, monkeypatch):
    monkeypatch.setattr(Task, "validate", lambda self, network: float("inf"))
    words = str(write_task()), ["edsr"], [0.05], [0], ["validate"], None
    with (
        Session("cpu", 1, 1, progress=False) as session,
        pytest.warns(OrbitliteWarning, match="edsr is left out: no learning rate"),
    ):
        list(comparison.rows(*words, session))


def test_tiles_and_settings_of_the_trainer_are_said_to_be_left_out(write_task, caplog):
    path = write_task(
        data={"tile": 2, "halo": 0}, trainer={"precision": "bf16-mixed", "max_epochs": 3}
    )
    caplog.set_level("INFO", logger="orbitlite")
    with pytest.warns(OrbitliteWarning, match="compared on whole grids"):
        task = Task.of(path, CPU)
    assert next(iter(task.data.train_dataloader())).coarse.shape[-2:] == (8, 12)
    assert "left out: precision." in caplog.text


def test_a_validation_period_is_needed(write_task):
    path = write_task(data={"train": ["2001-01-01", "2001-01-20"], "validate": None})
    with pytest.raises(InputError, match=r"state data\.validate"):
        Task.of(path, CPU)


def test_defaults_and_the_full_measurement(monkeypatch):
    asked = []
    monkeypatch.setattr(comparison, "rows", lambda *args: asked.append(args[1:6]) or [])
    parser = argparse.ArgumentParser()
    skill.add_arguments(parser)
    more = ["--period", "both", "--rates", "0.01"]
    for words in ([], ["--full"], ["--full", "--seconds", "5"], more):
        options = parser.parse_args(["--config", "a.yaml", *words])
        assert options.threads == 1
        list(skill._rows(options, None))
    assert asked[0] == (skill.NETWORKS, (15.0,), (0,), ("test",), None)
    assert asked[1][1:3] == ((60.0, 180.0, 600.0), (0, 1, 2))
    assert asked[2][1:3] == ([5.0], (0, 1, 2))
    assert asked[3][3:] == (("validate", "test"), [0.01])
    with pytest.raises(InputError, match="more than 0"):
        list(skill._rows(parser.parse_args(["--config", "a", "--seconds", "0"]), None))
    with pytest.raises(InputError, match=r"--rates: expected numbers above 0, found 0\.01 nan"):
        list(skill._rows(parser.parse_args(["--config", "a", "--rates", "0.01", "nan"]), None))


def test_one_rate_is_taken_untried_and_both_periods_are_scored(write_task, monkeypatch):
    fitted = []

    def fit(network, task, optimisation, seconds, checks, advance):
        fitted.append((optimisation.lr, seconds))
        return timed_fit.Fitted(optimisation.lr, seconds, 1)

    monkeypatch.setattr(comparison, "fit", fit)
    with Session("cpu", 1, 1, progress=False) as session:
        words = str(write_task()), ["ours"], [4.0], [0], ["validate", "test"]
        alone = list(comparison.rows(*words, [0.5], session))
        assert fitted == [(0.5, 4.0)]
        del fitted[:]
        rows = list(comparison.rows(*words, [0.5, 0.2], session))
    assert fitted == [(0.5, 1.0), (0.2, 1.0), (0.2, 4.0)]
    assert [row["period"] for row in rows if row["network"] == "ours"] == ["validate", "test"]
    ours = [row for row in alone if row["network"] == "ours"]
    assert ours[0]["rmse"] != ours[1]["rmse"]
    assert ours[0]["learning_rate"] == 0.5


def test_every_network_that_can_be_asked_for_is_known():
    assert {*skill.NETWORKS, "bilinear"} == {*comparison._TRAINED, *comparison._SOLVED}


def test_a_picture_of_one_budget(tmp_path):
    row = {"part": "skill", "target": "rain", "period": "test", "seed": 0}
    rows = [
        row | {"network": "bilinear", "budget_seconds": None, "rmse": 2.0},
        row | {"network": "ours", "budget_seconds": 60.0, "rmse": 1.0},
    ]
    assert [path.name for path in draw(rows, tmp_path)] == ["skill.png"]


def test_of_two_periods_the_test_is_drawn():
    facts = {"target": "rain", "network": "ours", "budget_seconds": 60.0}
    rows = [
        facts | {"period": "validate", "rmse": 9.0}, facts | {"period": "test", "rmse": 1.0},
    ]  # fmt: skip
    draw_skill(figure := Figure(), rows)
    (axes,) = figure.axes
    assert axes.get_title() == "rain, test period, range over seeds"
    assert axes.get_ylim()[1] < 2


def test_labels_do_not_cover_each_other():
    assert spread([0.2, 0.2, 0.2]) == pytest.approx([0.2, 0.25, 0.3])
