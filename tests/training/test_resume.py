"""A fit goes on from a checkpoint of any moment as if nothing had happened."""

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.training.averaging import WeightEMA
from orbitlite.training.checkpoints import CheckpointFiles, read_checkpoint
from orbitlite.training.module import DownscalingModule
from orbitlite.training.optimisation import Optimisation

RAIN = "total_precipitation_24hr"
EPOCHS = 3
FIELDS = {"inputs": [RAIN], "factor": 4}
STATICS = ["orography"]


class Keeper(Checkpoint):
    """Save at every moment that checkpoints are saved at, and note what is trained on."""

    def __init__(self, folder=None):
        self.folder = folder
        self.names, self.seen = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(batch.time.tolist())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:  # never between two steps
            self.save(trainer, f"batch {trainer.current_epoch} {batch_idx}")

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.save(trainer, f"validation {trainer.global_step}")

    def on_train_epoch_end(self, trainer, pl_module):
        self.save(trainer, f"epoch {trainer.current_epoch}")
        if trainer.current_epoch == EPOCHS - 1:
            self.save(trainer, "end", always=True)

    def save(self, trainer, name, always=False):
        if always or self.folder is not None:
            folder = self.folder or trainer.default_root_dir
            trainer.save_checkpoint(f"{folder}/{name}.ckpt")
            self.names.append(name)


def data(**options):
    return PairDataModule(
        "world", world={"days": 18, "height": 16, "width": 32}, targets=[RAIN],
        static_names=STATICS, **FIELDS,
        train=["2000-01-01", "2000-01-14"], validate=["2000-01-15", "2000-01-16"],
        test=["2000-01-17", "2000-01-18"], **{"batch_size": 4, **options},
    )  # fmt: skip


def module():
    lightning.seed_everything(1, verbose=False)
    config = DownscalerConfig(
        **FIELDS,
        statics=STATICS,
        embed_dim=16,
        depth=1,
        num_heads=2,
        dropout=0.2,
        channel_dropout=0.2,
    )
    return DownscalingModule(config, Optimisation(lr=1e-2))


def fit(folder, keeper, pairs, ckpt=None, decay=0.9, **options):
    trainer = lightning.Trainer(
        default_root_dir=folder, logger=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, use_distributed_sampler=False, plugins=[CheckpointFiles()],
        callbacks=[WeightEMA(decay), keeper], **{"max_epochs": EPOCHS, **options},
    )  # fmt: skip
    trainer.fit(module(), pairs, ckpt_path=ckpt)


def state(path):
    """Return all that goes on from step to step."""
    checkpoint = read_checkpoint(path)
    found = {name: checkpoint[name] for name in ("state_dict", "current") if name in checkpoint}
    moments = checkpoint["optimizer_states"][0]["state"]
    found |= {f"optimizer {name}": values for name, values in moments.items()}
    words = checkpoint["random"]["torch"]
    return found | {"random": {"torch": words}}, [
        checkpoint["global_step"], checkpoint["lr_schedulers"][0]["last_epoch"],
        checkpoint["callbacks"]["WeightEMA"],
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "decay", "options"),
    [
        (0, 0.9, {}),
        (0, 0.0, {}),
        (0, 0.9, {"val_check_interval": 2}),
        (0, 0.9, {"accumulate_grad_batches": 2}),
        (0, 0.9, {"limit_val_batches": 0}),
        (0, 0.9, {"max_epochs": -1, "max_steps": 4 * EPOCHS}),
        (2, 0.9, {}),
        (2, 0.9, {"val_check_interval": 2}),
        (2, 0.9, {"max_epochs": -1, "max_steps": 4 * EPOCHS}),
    ],
    ids=str,
)
def test_from_any_moment_bit_for_bit(tmp_path, workers, decay, options):
    whole = Keeper(tmp_path)
    fit(tmp_path, whole, data(num_workers=workers), decay=decay, **options)
    expected, counts = state(tmp_path / "end.ckpt")
    assert len(whole.seen) == 4 * EPOCHS
    moments = [name for name in whole.names if not name.startswith((f"batch {EPOCHS - 1} 3",
               f"validation {counts[0]}", f"epoch {EPOCHS - 1}", "end"))]  # fmt: skip
    assert len(moments) >= 7
    for name in moments:
        folder = tmp_path / name
        rest = Keeper()
        pairs = data(num_workers=workers)
        fit(folder, rest, pairs, tmp_path / f"{name}.ckpt", decay, **options)
        assert rest.seen == whole.seen[len(whole.seen) - len(rest.seen) :], name
        found, reached = state(folder / "end.ckpt")
        assert reached == counts, name
        assert set(found) == set(expected)
        for part, tensors in expected.items():
            for key, value in tensors.items():
                assert torch.equal(found[part][key], value), (name, part, key)


def test_a_fit_that_was_resumed_is_resumed(tmp_path):
    whole = Keeper(tmp_path)
    fit(tmp_path, whole, data())
    last = tmp_path / "batch 0 3.ckpt"
    for number, name in enumerate(["batch 1 1", "epoch 1", "batch 2 2"]):
        keeper = Keeper(tmp_path / str(number))
        fit(tmp_path, keeper, data(), last)
        last = tmp_path / str(number) / f"{name}.ckpt"
    expected, found = state(tmp_path / "end.ckpt"), state(tmp_path / "2" / "end.ckpt")
    assert found[1] == expected[1]
    for key, value in expected[0]["current"].items():
        assert torch.equal(found[0]["current"][key], value), key


def test_the_global_batch_is_kept_within_an_epoch(tmp_path):
    keeper = Keeper(tmp_path)
    fit(tmp_path, keeper, data(num_workers=0))
    with pytest.raises(InputError, match=r"epoch of 4 samples per step .*data.batch_size 4"):
        fit(tmp_path, Keeper(), data(batch_size=2), tmp_path / "batch 1 1.ckpt")
    rest = Keeper()
    fit(tmp_path / "other", rest, data(batch_size=2), tmp_path / "epoch 1.ckpt")
    assert sum(map(len, rest.seen)) == 14
