"""The benchmark of ensembles: trainings, scores by hand, its rows, command and picture."""

import argparse
import json

import numpy as np
import pytest
import torch

from orbitlite.benchmark import ensemble_contest, ensembles, timed_fit, variants
from orbitlite.benchmark.ensemble_contest import EnsembleContest
from orbitlite.benchmark.ensemble_scores import EnsembleScores
from orbitlite.benchmark.peers.bilinear import Bilinear
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.benchmark.pictures import draw
from orbitlite.benchmark.session import Session
from orbitlite.benchmark.system import NetworkSystem
from orbitlite.benchmark.task import Task
from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.model.noise import Draw
from orbitlite.notice import OrbitliteWarning
from orbitlite.training.optimisation import Optimisation

CPU = torch.device("cpu")
RAIN = "total_precipitation_24hr"
OWN = {
    "inputs": [RAIN, "2m_temperature"], "targets": [RAIN], "statics": ["orography"], "factor": 2,
    "patch_size": 2, "embed_dim": 8, "depth": 1, "num_heads": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def task(write_task):
    network = OWN | {"dropout": 0.1, "ridge": [8, 12]}
    return Task.of(write_task(model={"network": network, "mixup": 0.5}), CPU)


@pytest.fixture(scope="module")
def noisy(write_task):
    model = {
        "network": OWN | {"noise": 2}, "loss": "fair_crps", "members": 3,
        "structure": {"energy_score": 0.2}, "optimisation": {"lr": 0.01},
    }  # fmt: skip
    return Task.of(write_task(model=model), CPU)


class Constant:
    """Members that are known."""

    stochastic = True

    def members(self, batch, draw):
        generator = torch.Generator().manual_seed(int(batch.time.sum()) % 1000)
        shape = len(batch), len(draw), *batch.fine.shape[1:]
        return 9 * torch.rand(shape, generator=generator)


def contest_of(task, members=5):
    with Session("cpu", 1, 1, progress=False) as session:
        return EnsembleContest(task, "test", members, 10, session)


def awake(network):
    """Let noise do something."""
    torch.manual_seed(3)
    for name, weight in network.named_parameters():
        if "both" in name:
            torch.nn.init.normal_(weight, std=0.5)
    return network


def test_ours_is_the_network_of_the_config_with_noise(task):
    found = variants.ours(task).settings
    config = found.network.config
    assert (config.noise, config.dropout, config.ridge) == (4, 0.0, (8, 12))
    assert config.embed_dim == 8
    assert (found.objective.loss, found.objective.members) == ("crps", 2)
    assert found.variations.mixup == 0
    assert found.optimisation.lr == task.settings.optimisation.lr
    torch.testing.assert_close(found.network.target_scale, task.frame.target_scale)


def test_a_stochastic_config_is_taken_as_it_is(noisy):
    assert variants.ours(noisy) is noisy
    plain = variants.deterministic(noisy).settings
    assert plain.network.config.noise == 0
    assert plain.objective.loss == "mse"
    assert plain.objective.structure == {}


def test_deterministic_is_the_config_as_it_stands(task):
    assert variants.deterministic(task) is task


def test_the_loss_of_noisyvit_is_the_published_one(task, noisy):
    for one in (task, noisy):
        objective = variants.noisyvit(one).settings.objective
        assert objective.loss == "fair_crps"
        assert objective.structure == {"spectral_crps": pytest.approx(0.1 * (16 * 24) ** 0.5)}
        assert objective.members == 2
        assert objective.stochastic


def test_every_variant_that_can_be_asked_for_is_known():
    assert set(ensembles.VARIANTS) == {*variants.TRAINED, *variants.METHODS}


def test_steps_draw_other_members(noisy, monkeypatch):
    class Clock:
        now = 0.0

        def __call__(self):
            self.now += 1.0
            return self.now

    monkeypatch.setattr(timed_fit, "clock_of", lambda device: Clock())
    seen = []
    network = noisy.fresh().network
    forward = type(network).forward

    def watched(self, batch, tokens=None, fill=False, draw=None):
        if self.training:
            seen.append((draw.members, tuple(draw.keys.tolist())))
        return forward(self, batch, tokens, fill, draw)

    monkeypatch.setattr(type(network), "forward", watched)
    timed_fit.fit(network, noisy, Optimisation(), 4.0, 1, lambda count: None)
    assert [members for members, _ in seen] == [(0, 1, 2)] * 5
    assert len({keys for _, keys in seen}) == 5


def test_validation_of_members_is_their_crps(noisy):
    network = awake(noisy.fresh().network)
    found = noisy.validate(network)
    total = weight = 0.0
    edges = np.radians(np.linspace(50, 42, 17))
    for batch in noisy.data.val_dataloader():
        with torch.no_grad():
            x = (
                network.eval()(batch, fill=True, draw=Draw.of(0, range(8)))[:, :, 0]
                .double()
                .numpy()
            )
        y = batch.fine[:, 0].double().numpy()
        apart = np.abs(x[:, :, None] - x[:, None]).sum((1, 2)) / (2 * 8 * 7)
        score = np.abs(x - y[:, None]).mean(1) - apart
        area = (np.sin(edges[:-1]) - np.sin(edges[1:]))[:, None] * np.isfinite(y)
        total, weight = total + np.nansum(area * score), weight + area.sum()
    assert found == pytest.approx(total / weight / float(noisy.frame.target_scale), rel=1e-4)


def test_skill_scores_the_mean_of_eight_members(noisy):
    network = awake(noisy.fresh().network).eval()
    found = noisy.evaluate(network, "validate").scores[RAIN]["orbitlite"]["mae"]
    scores = EnsembleScores(RAIN, noisy.data.fine_grid)
    with torch.no_grad():
        for batch in noisy.data.val_dataloader():
            members = network(batch, draw=Draw.of(0, range(8)))
            rows = torch.from_numpy(np.cos(np.radians(noisy.data.fine_grid.lat))).expand(4, -1)
            scores.update(members[:, :, 0], batch.fine[:, 0], rows[..., None])
    assert scores.compute()["mae"] == pytest.approx(found, rel=1e-4)


def test_peers_of_a_stochastic_config_are_the_same_in_all_members(noisy):
    peer = Peer(noisy.frame, Bilinear())
    batch = next(iter(noisy.data.train_dataloader()))
    found = peer(batch, fill=True, draw=Draw.of(0, range(3)))
    assert torch.equal(found, peer(batch, fill=True).expand(-1, 3, -1, -1, -1))
    assert torch.isfinite(noisy.loss(peer, batch, 5))


def test_scores_are_those_of_a_double_sum(task):
    contest, system = contest_of(task), Constant()
    contest.task.data.dataset("test")
    found = contest.scores(system, 0)[RAIN]
    edges = np.radians(np.linspace(50, 42, 17))
    area = (np.sin(edges[:-1]) - np.sin(edges[1:]))[:, None]
    sums = np.zeros(5)
    for batch in task.data.test_dataloader():
        x = system.members(batch, range(5))[:, :, 0].double().numpy()
        y = batch.fine[:, 0].double().numpy()
        weight = area * np.isfinite(y)
        pairs = sum(np.abs(x[:, j] - x[:, k]) for j in range(5) for k in range(5))
        crps = sum(np.abs(x[:, j] - y) for j in range(5)) / 5 - pairs / (2 * 5 * 4)
        error, variance = x.mean(1) - y, x.var(1, ddof=1)
        parts = (crps, np.abs(error), error**2, variance * 6 / 5)
        sums += [weight.sum(), *(np.nansum(weight * part) for part in parts)]
    crps, mae, square, spread = sums[1:] / sums[0]
    assert found["crps"] == pytest.approx(crps, rel=1e-5)
    assert found["mae"] == pytest.approx(mae, rel=1e-5)
    assert found["rmse_mean"] == pytest.approx(square**0.5, rel=1e-5)
    assert found["spread_skill"] == pytest.approx((spread / square) ** 0.5, rel=1e-5)


def test_cells_of_which_the_inputs_say_nothing_are_left_out(task, monkeypatch):
    contest = contest_of(task)
    before = contest.scores(Constant(), 0)[RAIN]
    known = type(task.frame).known

    def less(self, batch):
        found = known(self, batch).clone()
        found[..., :8] = False
        return found

    monkeypatch.setattr(type(task.frame), "known", less)

    class Wrong(Constant):
        def members(self, batch, draw):
            found = super().members(batch, draw)
            found[..., :8] = torch.nan
            return found

    after = contest.scores(Wrong(), 0)[RAIN]
    assert np.isfinite(after["crps"])
    assert np.isfinite(after["ralsd"])
    assert after["crps"] != before["crps"]


def test_the_look_of_single_members(task):
    generator = torch.Generator().manual_seed(0)
    truth = 6 * torch.rand(10, 16, 24, generator=generator) ** 4
    scores = EnsembleScores(RAIN, task.data.fine_grid)
    scores.update((2 * truth)[:, None].expand(-1, 3, -1, -1), truth, torch.ones(10, 16, 1))
    found = scores.compute()
    assert found["ralsd"] == pytest.approx((10 * np.log10(4)) ** 2)
    assert found["fine_power_ratio"] == pytest.approx(4)
    assert found["p99_ratio"] == pytest.approx(2, rel=1e-3)
    assert found["p999_ratio"] == pytest.approx(2, rel=1e-3)
    assert found["wet_ratio"] == pytest.approx(float((truth >= 0.5).sum() / (truth >= 1).sum()))
    warm = EnsembleScores("2m_temperature", task.data.fine_grid)
    warm.update(truth[:, None], truth, torch.ones(10, 16, 1))
    found = warm.compute()
    assert found["p99_ratio"] is found["wet_ratio"] is None
    assert found["crps"] == 0


def test_time_is_that_of_ten_members_and_of_one(task, monkeypatch):
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(ensemble_contest, "clock_of", lambda device: clock)

    class Slow(Constant):
        def members(self, batch, draw):
            clock.now += 5.0 + len(draw)
            return super().members(batch, draw)

    slow = Slow()
    assert contest_of(task).seconds(slow, 0) == (1.5, 6.0)
    slow.stochastic = False
    assert contest_of(task).seconds(slow, 0) == (6.0, 6.0)


def test_a_network_without_noise_gives_one_field(task):
    network = task.fresh().network
    batch = next(iter(task.data.val_dataloader()))
    with torch.no_grad():
        found = NetworkSystem(network, False).members(batch, Draw.of(0, range(4)))
        drawn = NetworkSystem(variants.ours(task).fresh().network, True)
        assert found.shape == (4, 1, 1, 16, 24)
        assert drawn.members(batch, Draw.of(0, range(4))).shape == (4, 4, 1, 16, 24)


KEYS = {
    "part", "config", "period", "variant", "seed", "target", "members", "budget_seconds",
    "parameters", "crps", "mae", "rmse_mean", "rmse_unlimited", "spread_skill", "ralsd",
    "p99_ratio", "p999_ratio", "wet_ratio", "fine_power_ratio", "seconds_per_member",
    "seconds_per_prediction", "samples", "learning_rate",
}  # fmt: skip


@pytest.mark.slow
def test_command_rows_and_picture(write_task, tmp_path, capsys):
    words = ["--config", str(write_task()), "--seconds", "0.1", "--seeds", "0", "1"]
    words += ["--json", str(tmp_path / "e.json"), "--report", str(tmp_path / "figures")]
    words += ["--members", "4", "--period", "validate", "--repeats", "1", "--nearest", "8"]
    assert main(["benchmark", "ensembles", *words]) == 0
    result = json.loads((tmp_path / "e.json").read_text())
    rows = result["rows"]
    order = ["analog", "climatology", "mapped", "rainfarm", "ours", "deterministic", "noisyvit"]
    assert [(row["variant"], row["seed"]) for row in rows] == [
        (n, s) for n in order for s in (0, 1)
    ]
    assert all(set(row) == KEYS for row in rows)
    assert all(np.isfinite(row["crps"]) and np.isfinite(row["ralsd"]) for row in rows)
    found = {row["variant"]: row for row in rows}
    assert found["deterministic"]["members"] == 1
    assert found["deterministic"]["crps"] == pytest.approx(found["deterministic"]["mae"])
    assert found["deterministic"]["spread_skill"] == 0
    assert found["ours"]["members"] == 4
    assert found["ours"]["learning_rate"] == 0.01
    assert found["noisyvit"]["learning_rate"] in (3e-4, 1e-3, 3e-3)
    assert found["noisyvit"]["parameters"] > found["ours"]["parameters"] > 0
    assert found["climatology"]["budget_seconds"] is None
    assert rows[0]["crps"] != rows[1]["crps"]
    assert (tmp_path / "figures" / "ensembles.png").stat().st_size > 10_000
    assert "climatology" in capsys.readouterr().out
    assert "--nearest 8" in result["command"]


def rows_of(path, names, **more):
    with Session("cpu", 1, 1, progress=False) as session:
        return list(
            ensemble_contest.rows(str(path), names, [0.05], [0], ("validate", 4, 10), session)
        )


def test_what_does_not_fit_is_left_out_with_a_warning(write_task, monkeypatch):
    monkeypatch.setattr("orbitlite.benchmark.analogs._MOST", 100)
    with pytest.warns(OrbitliteWarning, match="analog is left out: the regression would"):
        rows = rows_of(write_task(), ["analog", "climatology"])
    assert [row["variant"] for row in rows] == ["climatology"]


def test_rainfarm_has_rows_of_rain_alone(write_task):
    both = {"network": OWN | {"targets": [RAIN, "2m_temperature"]}}
    rows = rows_of(write_task(model=both), ["mapped", "rainfarm"])
    found = [(row["variant"], row["target"]) for row in rows]
    assert found == [("mapped", RAIN), ("mapped", "2m_temperature"), ("rainfarm", RAIN)]
    assert rows[1]["p99_ratio"] is None


def test_rainfarm_is_left_out_where_there_is_no_coarse_rain(write_task):
    dry = {"network": OWN | {"inputs": ["2m_temperature"]}}
    with pytest.warns(OrbitliteWarning, match="rainfarm is left out: it refines"):
        assert rows_of(write_task(model=dry), ["rainfarm"]) == []


def test_defaults_and_the_full_measurement(monkeypatch):
    asked = []
    monkeypatch.setattr(ensemble_contest, "rows", lambda *args: asked.append(args[1:5]) or [])
    parser = argparse.ArgumentParser()
    ensembles.add_arguments(parser)
    for words in ([], ["--full"], ["--seconds", "5", "--members", "20"]):
        list(ensembles._rows(parser.parse_args(["--config", "a.yaml", *words]), None))
    assert asked[0] == (ensembles.VARIANTS, (40.0,), (0,), ("test", 16, 100))
    assert asked[1][1:3] == ((180.0, 600.0), (0, 1, 2))
    assert asked[2][1:] == ([5.0], (0,), ("test", 20, 100))
    for words in (["--seconds", "0"], ["--members", "1"], ["--nearest", "0"]):
        with pytest.raises(InputError, match=f"{words[0]}: expected"):
            list(ensembles._rows(parser.parse_args(["--config", "a", *words]), None))


def test_a_picture_of_what_needs_no_training(tmp_path):
    row = {"part": "ensembles", "target": "rain", "period": "test", "budget_seconds": None}
    rows = [
        row | {"variant": name, "seed": seed, "crps": 1.0 + seed, "spread_skill": 0.5}
        for name in ("mapped", "climatology") for seed in (0, 1)
    ]  # fmt: skip
    assert [path.name for path in draw(rows, tmp_path)] == ["ensembles.png"]
