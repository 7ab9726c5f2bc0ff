"""The network: shapes, units, invariances, constraints."""

import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model import interpolation
from orbitlite.model.constraint import block_mean, row_shares
from orbitlite.model.decoder import DECODERS, FineDecoder
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.noise import Draw
from orbitlite.parallel.mesh import ParallelConfig, Ranks
from orbitlite.parallel.sharding import parallelize

aten = torch.ops.aten
NAMES = ["2m_temperature", "total_precipitation_24hr", "temperature_850"]


def network(**options):
    torch.manual_seed(0)
    settings = {"inputs": NAMES, "factor": 3, "embed_dim": 16, "num_heads": 2, "depth": 1}
    model = Downscaler(DownscalerConfig(**{**settings, **options}))
    torch.nn.init.normal_(model.decoder.out.weight, std=0.5)
    for block in model.decoder.body:
        torch.nn.init.normal_(block.second.weight, std=0.1)
    return model.eval()


def sample(height=6, width=10, factor=3, world=False, seed=1):
    generator = torch.Generator().manual_seed(seed)
    span = (0.0, 360.0) if world else (3.0, 13.0)
    lat = (90.0, -90.0) if world else (50.0, 44.0)
    return Batch(
        coarse=torch.rand(2, 3, height, width, generator=generator) * 5,
        statics=torch.randn(2, 2, height * factor, width * factor, generator=generator),
        lat_edges=torch.linspace(*lat, height + 1, dtype=torch.float64).expand(2, -1),
        lon_edges=torch.linspace(*span, width + 1, dtype=torch.float64).expand(2, -1),
    )


@pytest.mark.parametrize("size", [(6, 10), (5, 9), (2, 3)])
@pytest.mark.parametrize("patch", [1, 2, 3])
def test_any_size(size, patch):
    out = network(patch_size=patch)(sample(*size))
    assert out.shape == (2, 1, 1, size[0] * 3, size[1] * 3)
    assert torch.isfinite(out).all()
    assert (out >= 0).all()


def test_untrained_network_interpolates():
    model = Downscaler(DownscalerConfig(inputs=NAMES, factor=3, embed_dim=16, constraint="none"))
    batch = sample()
    batch.coarse[:, 1] = 7.0
    torch.testing.assert_close(model(batch), torch.full((2, 1, 1, 18, 30), 7.0))


def test_global_grid_knows_no_seam():
    model, batch = network(), sample(world=True)
    shift = 4
    turned = dataclasses.replace(
        batch,
        coarse=batch.coarse.roll(shift, -1),
        statics=batch.statics.roll(3 * shift, -1),
        lon_edges=batch.lon_edges - 36.0 * shift,
    )
    expected = model(batch).roll(3 * shift, -1)
    torch.testing.assert_close(model(turned), expected, rtol=1e-4, atol=1e-4)


def test_regional_grid_is_not_wrapped():
    batch = sample()
    model = network(depth=0, decoder_blocks=0)
    west = dataclasses.replace(batch, coarse=batch.coarse.clone())
    west.coarse[..., 0] += 3
    assert torch.equal(model(west)[..., -6:], model(batch)[..., -6:])


def test_missing_values_change_nothing_but_where_they_are():
    model, batch = network(depth=0), sample()
    holes = dataclasses.replace(batch, coarse=batch.coarse.clone())
    holes.coarse[:, 0, 0, 0] = torch.nan  # of the target itself a value is needed
    holes.coarse[:, 2] = torch.nan
    out = model(holes)
    assert torch.isfinite(out).all()
    assert not torch.allclose(out, model(batch))


def test_units_are_the_models_business():
    """A shift of a channel with the same shift of its mean changes nothing."""
    model, batch = network(), sample()
    before = model(batch)
    moved = dataclasses.replace(batch, coarse=batch.coarse.clone())
    moved.coarse[:, 0] += 273.15
    model.set_statistics(input_mean=[273.15, 0.0, 0.0])
    torch.testing.assert_close(model(moved), before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("targets", [("total_precipitation_24hr",), ("2m_temperature",)])
@pytest.mark.parametrize("world", [False, True])
def test_conserve_keeps_coarse_means(targets, world):
    model = network(constraint="conserve", targets=targets)
    batch = sample(world=world)
    batch.coarse[0, :, 0, 0] = 0.0
    batch.coarse[1, :, 2, 3] = torch.nan
    assert torch.isnan(model(batch)[1, ..., 6:9, 9:12]).all()
    out = model(batch, fill=True)
    assert torch.isfinite(out).all()
    mean = block_mean(out, row_shares(batch.lat_edges, 3), 3)
    wanted = batch.coarse[:, None, [NAMES.index(targets[0])]]
    known = torch.isfinite(wanted)
    error = (mean - wanted)[known].abs()
    assert float(error.max()) < 1e-4 * float(wanted[known].max())
    if targets == ("total_precipitation_24hr",):
        assert (out >= 0).all()


def test_row_shares_are_areas():
    shares = row_shares(torch.tensor([[90.0, 80.0, 60.0]]), 2)
    sines = torch.deg2rad(torch.tensor([90.0, 85.0, 80.0, 70.0, 60.0]).double()).sin()
    steps = -sines.diff()
    expected = [steps[0] / steps[:2].sum(), steps[1] / steps[:2].sum()]
    torch.testing.assert_close(shares[0, :2, 0].double(), torch.stack(expected), rtol=1e-6, atol=0)


def test_every_parameter_learns():
    model = network().train()
    batch = sample()
    batch.coarse[0, :, :2, :2] = torch.nan
    model(batch, fill=True).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_config_round_trip_and_errors():
    config = DownscalerConfig(inputs=NAMES, constraint="conserve")
    assert DownscalerConfig.from_dict(config.to_dict()) == config
    assert config.log1p == ("total_precipitation_24hr",)
    with pytest.raises(InputError, match="embed_dim"):
        DownscalerConfig.from_dict({"inputs": NAMES, "embed_dims": 3})
    with pytest.raises(InputError, match="multiple"):
        DownscalerConfig(inputs=NAMES, embed_dim=30)
    with pytest.raises(InputError, match="among the inputs"):
        DownscalerConfig(inputs=NAMES[:1], constraint="conserve")
    with pytest.raises(InputError, match="targets: landcover holds codes of classes"):
        DownscalerConfig(inputs=NAMES, targets=[NAMES[0], "landcover"])
    with pytest.raises(InputError, match="once"):
        DownscalerConfig(inputs=[*NAMES, NAMES[0]])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_statistics_must_be_finite(value):
    with pytest.raises(InputError, match="input_mean"):
        network().set_statistics(input_mean=[value, 0, 0])
    with pytest.raises(InputError, match="positive"):
        network().set_statistics(target_std=[0.0])


def test_wrong_shapes_are_named():
    model, batch = network(), sample()
    with pytest.raises(ValueError, match="3 channels"):
        model(dataclasses.replace(batch, coarse=batch.coarse[:, :2]))
    with pytest.raises(ValueError, match="statics"):
        model(dataclasses.replace(batch, statics=None))


class FromHost(TorchDispatchMode):
    """Counts what makes a GPU wait: lists that become tensors, values that are read."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (aten.lift_fresh.default, aten._local_scalar_dense.default)
        return function(*args, **(kwargs or {}))


EVERYTHING = {
    "channel_groups": [["2m_temperature", "temperature_850"], ["total_precipitation_24hr"]],
    "tokens": 0.8, "max_leaf": 2, "saliency": "learned", "constraint": "conserve",
    "channel_dropout": 0.2, "dropout": 0.1, "targets": [NAMES[1], NAMES[0]],
}  # fmt: skip


def test_a_pass_copies_nothing_from_the_host(monkeypatch):
    model, batch = network(**EVERYTHING).train(), sample()
    batch.coarse[:, 1, 2, 3] = torch.nan
    model(batch)  # what belongs to the grid is made once
    monkeypatch.setattr(interpolation, "_readable", lambda x: False)  # as on a GPU
    with FromHost() as found:
        model(batch, fill=True).sum().backward()
    assert found.count == 0


def test_members_of_a_network():
    """One after the other they are what they are together; without noise there is one."""
    model, batch = network(depth=0, noise=3).eval(), sample()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    with torch.no_grad():
        both = model(batch, draw=Draw.of(1, range(4)), fill=True)
        alone = [model(batch, draw=Draw.of(1, [m]), fill=True) for m in range(4)]
        assert both.shape[1] == 4
        torch.testing.assert_close(both, torch.cat(alone, dim=1), rtol=1e-4, atol=1e-4)
        assert both.std(1).mean() > 0.01 * both.std()
        usual = model(batch, fill=True)
        first = model(batch, draw=Draw.of(0, [0]), fill=True)
        assert torch.equal(usual, first)
    untrained = network(depth=0, noise=3).eval()
    torch.nn.init.normal_(untrained.decoder.out.weight)
    with torch.no_grad():
        several = untrained(batch, draw=Draw.of(0, range(3)), fill=True)
    torch.testing.assert_close(several[:, :1].expand_as(several), several)  # noise is idle at first


def test_noise_is_calibrated_for_predictions_alone():
    model, batch = network(depth=0, noise=3, dropout=0.0), sample()
    for stage in model.decoder.stages:
        torch.nn.init.normal_(stage.conditioning.gain.weight, std=1e-3)
        torch.nn.init.normal_(stage.conditioning.shift.weight, std=1e-3)

    def spread(training):
        with torch.no_grad():
            return float(
                model.train(training)(batch, draw=Draw.of(0, range(6)), fill=True).std(1).mean()
            )

    before = spread(False)
    model.calibrate([0.5, float("nan")])
    assert spread(False) == pytest.approx(2 * before, rel=0.02)
    assert spread(True) == pytest.approx(before, rel=1e-5)
    model.calibrate([1.25])
    assert spread(False) == pytest.approx(1.6 * before, rel=0.02)
    model.calibrate([0.01])
    assert float(model.noise_size) == 2.0  # no further
    model.calibrate([float("nan")])
    model.calibrate([0.0])
    assert float(model.noise_size) == 2.0
    assert "noise_size" in model.state_dict()
    assert "noise_size" not in network(depth=0).state_dict()


def test_noise_needs_a_decoder_that_takes_it(monkeypatch):
    class Plain(FineDecoder):
        takes_noise = False

    class Drawing(FineDecoder):
        members = 2

    for kind, said in ((Plain, "takes none"), (Drawing, "draws members by itself")):
        monkeypatch.setitem(DECODERS._parts, "tried", kind)
        with pytest.raises(InputError, match=said):
            network(noise=2, decoder="tried")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize("noise", [0, 3])
def test_is_one_graph_forward_and_backward(noise):
    model, batch = network(**EVERYTHING, noise=noise).train(), sample()
    batch.coarse[:, 1, 2, 3] = torch.nan
    drawn = {"draw": Draw.of(5, range(2))} if noise else {}
    found = []
    for run in (model, torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=False)):
        model.zero_grad()
        torch.manual_seed(1)
        out = run(batch, fill=True, **drawn)
        out.square().mean().backward()
        found.append([out, *(weight.grad for weight in model.parameters())])
    for ours, expected in zip(*reversed(found), strict=True):
        room = 1e-5 * max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=room)


def test_one_process_compiles_the_network_as_a_whole(monkeypatch):
    compiled = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda *part, **how: compiled.append((part, how))
    )
    model = parallelize(network(), Ranks(), ParallelConfig(compile=True))
    assert compiled == [((model,), {"dynamic": False})]
