"""Amounts of any size: what is multiplied, and that a sample weighs as before."""

from dataclasses import replace

import lightning
import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.source import harmonise
from orbitlite.data.world import generate
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.interpolation import upsample
from orbitlite.training.module import DownscalingModule
from orbitlite.training.optimisation import Optimisation
from orbitlite.training.rescaling import Rescaling

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"


def batch(count=2000):
    return Batch(coarse=torch.ones(count, 2, 1, 1), fine=torch.ones(count, 2, 2, 2))


def test_half_of_the_samples_are_multiplied_evenly_in_the_logarithm():
    torch.manual_seed(0)
    rescaling = Rescaling([WARM, RAIN], [RAIN, WARM], 30.0)
    found, sizes = rescaling.draw(batch(), [WARM, RAIN])
    factors = found.coarse[:, 1, 0, 0]
    torch.testing.assert_close(sizes[:, 0, 0, 0, 0], factors)
    assert (sizes[:, 0, 1] == 1).all()
    assert (found.coarse[:, 0] == 1).all()
    assert torch.equal(found.fine, batch().fine)
    changed = factors[factors != 1].log() / torch.tensor(30.0).log()
    assert 900 < len(changed) < 1100
    assert changed.abs().max() <= 1
    assert abs(float(changed.mean())) < 0.05
    assert float(changed.square().mean()) == pytest.approx(1 / 3, abs=0.03)


def test_a_process_multiplies_what_it_holds():
    rescaling = Rescaling([WARM, RAIN], [RAIN], 30.0)
    part = Batch(coarse=torch.ones(50, 1, 1, 1), fine=torch.ones(50, 1, 2, 2))
    torch.manual_seed(1)
    held, sizes = rescaling.draw(part, [WARM])
    assert (held.coarse == 1).all()
    torch.manual_seed(1)
    whole, others = rescaling.draw(replaced(part), [WARM, RAIN])
    assert torch.equal(sizes, others)
    torch.testing.assert_close(whole.coarse[:, 1, 0, 0], sizes[:, 0, 0, 0, 0])


def replaced(part):
    return Batch(coarse=part.coarse.expand(-1, 2, -1, -1), fine=part.fine)


@pytest.mark.parametrize("largest", [1.0, 0.5, -3.0, float("inf"), float("nan")])
def test_factor_must_be_more_than_one(largest):
    with pytest.raises(InputError, match="rescaling: expected a factor of more than 1"):
        Rescaling([RAIN], [RAIN], largest)


def test_without_precipitation_there_is_nothing_to_multiply():
    config = DownscalerConfig(inputs=[WARM], targets=[WARM])
    with pytest.raises(InputError, match="among inputs and targets; found inputs 2m_temperature"):
        DownscalingModule(config, rescaling=30.0)


def test_the_loss_is_that_of_the_prediction_in_its_own_size(monkeypatch):
    """A network that multiplies what it sees has the same loss at any size."""
    config = DownscalerConfig(
        inputs=[RAIN], statics=(), factor=2, embed_dim=8, num_heads=1, depth=0, constraint="none"
    )
    losses = []
    for rescaling in (None, 30.0):
        module = DownscalingModule(config, rescaling=rescaling)
        monkeypatch.setattr(module, "log", lambda *_, **__: None)
        # An untrained one interpolates.
        generator = torch.Generator().manual_seed(0)
        data = Batch(
            coarse=torch.rand(6, 1, 4, 4, generator=generator),
            fine=torch.rand(6, 1, 8, 8, generator=generator),
            lat_edges=torch.linspace(50, 46, 5).repeat(6, 1),
            lon_edges=torch.linspace(0, 4, 5).repeat(6, 1),
        )
        losses.append(module.training_step(data, 0))
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.slow
def test_a_fit_serves_amounts_of_any_size():
    """On days that it has not seen, at a thirtieth, a tenth and ten times the rain."""
    world = harmonise(generate(days=80, height=32, width=64))
    names = [RAIN, WARM, "specific_humidity_850", "10m_u_component_of_wind"]
    data = PairDataModule(
        world, inputs=names, targets=[RAIN], static_names=["orography"], factor=4,
        train=["2000-01-01", "2000-02-29"], validate=["2000-03-06", "2000-03-20"], batch_size=4,
    )  # fmt: skip
    config = DownscalerConfig(
        inputs=names, statics=["orography"], factor=4, patch_size=1, embed_dim=32, depth=0,
        num_heads=2,
    )  # fmt: skip
    lightning.seed_everything(0)
    module = DownscalingModule(config, Optimisation(lr=3e-3, warmup=0.1), rescaling=30.0)
    trainer = lightning.Trainer(
        max_epochs=12, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, gradient_clip_val=1.0,
        limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, data)
    network = module.network.eval()
    errors = {factor: [] for factor in (1.0, 0.03, 0.1, 10.0)}
    bilinear = []
    with torch.no_grad():
        for batch in data.val_dataloader():
            for factor, found in errors.items():
                coarse = batch.coarse.clone()
                coarse[:, 0] *= factor
                fine = network(replace(batch, coarse=coarse))[:, 0] / factor
                found.append((fine - batch.fine).square().mean())
            plain = upsample(batch.coarse[:, :1], 4, torch.ones(len(batch), dtype=torch.bool))
            bilinear.append((plain - batch.fine).square().mean())
    rmse = {factor: float(torch.stack(found).mean().sqrt()) for factor, found in errors.items()}
    assert rmse[1.0] < 0.9 * float(torch.stack(bilinear).mean().sqrt())  # it has learned something
    for factor in (0.03, 0.1, 10.0):
        assert rmse[factor] == pytest.approx(rmse[1.0], rel=0.1)
