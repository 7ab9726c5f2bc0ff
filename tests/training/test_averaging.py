"""Averages against those by hand, in the fit and in its checkpoints."""

import lightning
import pytest
import torch
import xarray as xr
from lightning.pytorch.callbacks import Checkpoint

from orbitlite.data.datamodule import PairDataModule
from orbitlite.model.config import DownscalerConfig
from orbitlite.training.averaging import WeightEMA
from orbitlite.training.checkpoints import CheckpointFiles, read_checkpoint
from orbitlite.training.module import DownscalingModule
from orbitlite.training.optimisation import Optimisation
from orbitlite.training.prediction import PredictionFile, predict_period

RAIN = "total_precipitation_24hr"
FIELDS = {"inputs": [RAIN], "factor": 4}
STATICS = ["orography"]
DECAY = 0.6


def data():
    return PairDataModule(
        "world", world={"days": 14, "height": 16, "width": 32}, targets=[RAIN],
        static_names=STATICS, **FIELDS,
        train=["2000-01-01", "2000-01-10"], validate=["2000-01-11", "2000-01-12"],
        test=["2000-01-13", "2000-01-14"], batch_size=2,
    )  # fmt: skip


def module():
    lightning.seed_everything(1, verbose=False)
    config = DownscalerConfig(**FIELDS, statics=STATICS, embed_dim=16, depth=1, num_heads=2)
    return DownscalingModule(config, Optimisation(lr=1e-2))


def trainer(folder, *callbacks, **options):
    return lightning.Trainer(
        default_root_dir=folder, logger=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, use_distributed_sampler=False,
        plugins=[CheckpointFiles()], callbacks=[*callbacks], **options,
    )  # fmt: skip


def weights(pl_module):
    return {name: weight.detach().clone() for name, weight in pl_module.named_parameters()}


class ByHand(Checkpoint):
    """Average once per step of the optimiser, and look at what is validated and saved."""

    def on_train_start(self, trainer, pl_module):
        self.averages, self.steps, self.validated = weights(pl_module), 0, 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.steps:
            return
        kept = min(DECAY, (1 + self.steps) / (10 + self.steps))
        self.steps = trainer.global_step
        self.current = weights(pl_module)
        for name, weight in self.current.items():
            self.averages[name] = kept * self.averages[name] + (1 - kept) * weight

    def on_validation_batch_start(self, trainer, pl_module, *args):
        if not trainer.sanity_checking:
            torch.testing.assert_close(weights(pl_module), self.averages)
            self.validated += 1

    def on_train_epoch_end(self, trainer, pl_module):
        torch.testing.assert_close(weights(pl_module), self.current, rtol=0, atol=0)
        trainer.save_checkpoint(f"{trainer.default_root_dir}/end.ckpt")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_averages_by_hand(tmp_path, accumulate):
    hand, net = ByHand(), module()
    options = {"max_epochs": 2, "accumulate_grad_batches": accumulate}
    trainer(tmp_path, WeightEMA(DECAY), hand, **options).fit(net, data())
    assert hand.steps == (10 if accumulate == 1 else 6)  # the last of five batches steps alone
    assert hand.validated == 2
    state = read_checkpoint(tmp_path / "end.ckpt")
    assert set(state["current"]) == set(hand.averages)
    assert set(state["state_dict"]) == set(net.state_dict())
    torch.testing.assert_close(state["current"], hand.current, rtol=0, atol=0)
    averages = {name: state["state_dict"][name] for name in hand.averages}
    torch.testing.assert_close(averages, hand.averages)
    torch.testing.assert_close(weights(net), averages, rtol=0, atol=0)


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_scores_and_predictions_are_those_of_the_averages(tmp_path, decay):
    """Whatever the callback of the run that takes them."""
    hand = ByHand()
    trainer(tmp_path, WeightEMA(DECAY), hand, max_epochs=1).fit(module(), data())
    found, path = [], tmp_path / "end.ckpt"
    for callbacks in ([], [WeightEMA(decay)]):
        net = module()
        runner = trainer(tmp_path, *callbacks)
        scores = [
            run(net, data(), ckpt_path=path, verbose=False)[0]
            for run in (runner.validate, runner.test)
        ]
        file = predict_period(runner, net, data(), path, PredictionFile())
        with xr.open_dataset(file) as ds:
            rain = torch.from_numpy(ds[RAIN].values)
        torch.testing.assert_close(weights(net), hand.averages)
        found.append((scores, rain))
    assert found[0][0] == found[1][0]
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=0)


def test_without_averaging_a_checkpoint_holds_one_set_of_weights(tmp_path):
    net = module()
    fit = trainer(tmp_path, WeightEMA(0.0), max_epochs=1)
    fit.fit(net, data())
    fit.save_checkpoint(tmp_path / "end.ckpt")
    assert "current" not in read_checkpoint(tmp_path / "end.ckpt")
