"""The peers: their shapes and weights, the globe, what is missing, and regressions by hand."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from orbitlite.batch import Batch
from orbitlite.benchmark.peers.bilinear import Bilinear
from orbitlite.benchmark.peers.deepesd import DeepESD
from orbitlite.benchmark.peers.edsr import EDSR
from orbitlite.benchmark.peers.linear import Linear
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.benchmark.peers.reslim import Reslim
from orbitlite.benchmark.peers.ridge import Ridge
from orbitlite.benchmark.peers.size import Size
from orbitlite.benchmark.peers.unet import UNet
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.interpolation import upsample

RAIN = "total_precipitation_24hr"
SIZE = Size(inputs=3, statics=2, targets=1, factor=2, height=5, width=6)


def slice_of(batch, start, stop):
    return Batch(**{f.name: getattr(batch, f.name)[start:stop] for f in fields(batch)
                    if getattr(batch, f.name) is not None})  # fmt: skip


def config(**more):
    options = {
        "inputs": [RAIN, "2m_temperature", "temperature_850"], "factor": 2, "embed_dim": 8,
        "patch_size": 2, "depth": 1, "num_heads": 2,
    }  # fmt: skip
    return DownscalerConfig(**(options | more))


def bodies(size):
    names = [RAIN, "snowfall"][: size.targets]
    others = ["2m_temperature", "temperature_850", "temperature_500"]
    made = config(inputs=[*names, *others[: size.inputs - len(names)]], targets=names,
                  factor=size.factor)  # fmt: skip
    return {
        "edsr": EDSR(size), "unet": UNet(size), "deepesd": DeepESD(size),
        "reslim": Reslim(size, made), "linear": Linear(size),
    }  # fmt: skip


def count(module):
    return sum(weight.numel() for weight in module.parameters())


def batch_of(size, samples=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    h, w, f = size.height, size.width, size.factor
    east = 360.0 if size.wraps else 10.0 + w
    return Batch(
        coarse=8 * torch.rand(samples, size.inputs, h, w, generator=generator),
        fine=8 * torch.rand(samples, size.targets, f * h, f * w, generator=generator),
        statics=torch.rand(samples, size.statics, f * h, f * w, generator=generator),
        lat_edges=torch.linspace(46, 40, h + 1).expand(samples, -1),
        lon_edges=torch.linspace(0 if size.wraps else 10, east, w + 1).expand(samples, -1),
    )


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("targets", [1, 2])
def test_shapes(factor, targets):
    size = Size(4, 2, targets, factor, 5, 7)
    for name, body in bodies(size).items():
        fine = body(torch.rand(3, 4, 5, 7), torch.rand(3, 2, 5 * factor, 7 * factor))
        assert fine.shape == (3, targets, 5 * factor, 7 * factor), name
    bare = Size(4, 0, targets, factor, 5, 7)
    for name, body in bodies(bare).items():
        fine = body(torch.rand(1, 4, 5, 7), torch.rand(1, 0, 5 * factor, 7 * factor))
        assert fine.shape == (1, targets, 5 * factor, 7 * factor), name


def test_numbers_of_weights():
    def conv(a, b, kernel=3):
        return a * b * kernel**2 + b

    def double(a, b):
        return conv(a, b) + conv(b, b) + 4 * b  # two normalisations of 2 b

    found = {name: count(body) for name, body in bodies(SIZE).items()}
    blocks = 4 * 2 * conv(64, 64) + conv(64, 64)
    assert found["edsr"] == conv(3 + 2 * 4, 64) + blocks + conv(64, 16 * 4) + conv(16, 1)
    down = double(3 + 2 * 4, 32) + double(32, 64) + double(64, 96)
    assert found["unet"] == down + double(96 + 64, 64) + double(64 + 32, 32) + (32 + 1) * 4
    dense = 10 * 30 * 120 + 120
    assert found["deepesd"] == conv(3, 50) + conv(50, 25) + conv(25, 10) + dense
    assert found["linear"] == 4 * (3 * 25 + 1 + 2 * 4)


def test_edsr_and_unet_have_the_size_that_is_stated():
    world = Size(15, 2, 1, 4, 16, 32, True)
    assert 0.3e6 < count(UNet(world)) < 1e6
    assert 0.3e6 < count(EDSR(world)) < 1e6


def test_deepesd_has_fewer_maps_on_larger_grids_and_then_none():
    assert DeepESD(Size(2, 0, 1, 4, 8, 8)).layers[4].out_channels == 10
    with torch.device("meta"):
        assert DeepESD(Size(2, 0, 1, 4, 16, 32)).layers[4].out_channels == 1
    with pytest.raises(InputError, match="would have 21,233,664 weights"):
        DeepESD(Size(2, 0, 1, 4, 32, 36))


def test_reslim_needs_the_coarse_targets():
    with pytest.raises(InputError, match=f"{RAIN} is no input"):
        Reslim(SIZE, config(inputs=["2m_temperature", "temperature_850", "temperature_500"]))


@pytest.mark.parametrize("name", ["edsr", "unet"])
def test_longitude_is_periodic_where_the_grid_wraps(name):
    for wraps in (True, False):
        torch.manual_seed(0)
        body = bodies(replace(SIZE, height=4, width=8, wraps=wraps))[name].double()
        nn.init.normal_(body.tail.weight)
        x, statics = torch.rand(1, 3, 4, 8).double(), torch.rand(1, 2, 8, 16).double()
        turned = body(x.roll(4, -1), statics.roll(8, -1))
        same = torch.allclose(turned, body(x, statics).roll(8, -1), atol=1e-10)
        assert same == wraps


def test_convolutions_begin_with_the_interpolated_field():
    frame, batch = Downscaler(config(constraint="none")), batch_of(SIZE)
    expected = upsample(batch.coarse[:, :1], 2, torch.zeros(3, dtype=torch.bool))
    for name in ("edsr", "unet", "deepesd"):
        body = bodies(SIZE)[name]
        with torch.no_grad():
            last = body.layers[-2] if name == "deepesd" else body.tail
            last.bias.zero_()
        torch.testing.assert_close(Peer(frame, body)(batch)[:, 0], expected)


@pytest.mark.parametrize("name", ["edsr", "unet", "deepesd", "reslim", "linear"])
def test_missing_inputs_leave_all_else_as_it_is(name):
    torch.manual_seed(0)
    frame, batch = Downscaler(config()), batch_of(SIZE)
    peer = Peer(frame, bodies(SIZE)[name], linear=name == "linear").eval()
    batch.coarse[0, 0, 1, 2] = torch.nan
    batch.coarse[0, 2, 3, 3] = torch.nan
    out = peer(batch)
    missing = torch.zeros(3, 1, 1, 10, 12, dtype=torch.bool)
    missing[0, 0, 0, 2:4, 4:6] = True  # of the cell without a coarse target
    assert torch.equal(torch.isnan(out), missing)
    filled = peer(batch, fill=True)
    assert torch.isfinite(filled).all()
    filled.sum().backward()
    assert all(torch.isfinite(w.grad).all() for w in peer.parameters() if w.grad is not None)


def test_constraint_and_statistics_are_those_of_our_network():
    frame, batch = Downscaler(config(constraint="conserve")), batch_of(SIZE)
    frame.set_statistics(input_mean=[1.0, 3.0, 4.0], input_std=[0.5, 2.0, 1.0])
    peer = Peer(frame, EDSR(SIZE))
    nn.init.normal_(peer.body.tail.weight)
    areas = torch.sin(torch.deg2rad(torch.linspace(46, 40, 11))).diff().abs().view(5, 2)
    shares = (areas / areas.sum(1, keepdim=True))[:, :, None, None]
    blocks = (peer(batch)[:, 0, 0].view(3, 5, 2, 6, 2) * shares).sum(2).mean(3)
    torch.testing.assert_close(blocks, batch.coarse[:, 0], rtol=1e-4, atol=1e-4)
    seen = peer.seen(batch)[0]
    torch.testing.assert_close(seen[:, 0], (batch.coarse[:, 0].log1p() - 1) / 0.5)
    torch.testing.assert_close(seen[:, 1], (batch.coarse[:, 1] - 3) / 2)
    assert not any("frame" in name for name, _ in peer.named_parameters())


def test_linear_is_that_of_least_squares_in_every_part_of_a_cell():
    frame, batch = Downscaler(config()), batch_of(SIZE, samples=20)
    batch.fine[:, :, 2, 1::2] = torch.nan  # one part of some cells
    batch.fine[:, :, 4:6, 4:6] = torch.nan  # a whole cell
    peer = Peer(frame, Linear(SIZE), linear=True)
    peer.body.solve(peer, [slice_of(batch, 0, 7), slice_of(batch, 7, 20)], lambda: 0.0)
    x = peer.body.predictors(*peer.seen(batch)).permute(0, 2, 1).reshape(600, -1).double().numpy()
    wanted = ((batch.fine - peer.base(batch)) / frame.target_scale).view(20, 5, 2, 6, 2)
    found = peer.body(*peer.seen(batch)).view(20, 5, 2, 6, 2).detach()
    area = np.sin(np.radians(np.linspace(46, 40, 6)))
    root = np.sqrt(np.tile(np.repeat(area[:-1] - area[1:], 6), 20))
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        y = wanted[:, :, row, :, column].reshape(-1).double().numpy()
        known = np.isfinite(y)
        fit = np.linalg.lstsq(x[known] * root[known, None], (y * root)[known], rcond=None)[0]
        part = found[:, :, row, :, column].reshape(-1).numpy()
        np.testing.assert_allclose(part, x @ fit, atol=2e-3)


def test_linear_looks_at_the_cells_around():
    x, statics = torch.rand(2, 3, 5, 6), torch.rand(2, 2, 10, 12)
    found = Linear(SIZE).predictors(x, statics).view(2, -1, 5, 6)
    torch.testing.assert_close(found[:, 25 + 12], x[:, 1])
    torch.testing.assert_close(found[:, 50 + 12 + 5 - 2, :-1, 2:], x[:, 2, 1:, :-2])
    torch.testing.assert_close(found[:, 76 + 4 + 2], statics[:, 1, 1::2, ::2])


def test_linear_leaves_statics_out_where_they_do_not_help():
    frame, batch = Downscaler(config()), batch_of(SIZE, samples=20)
    peer = Peer(frame, Linear(SIZE), linear=True)
    used = []

    def score():
        used.append(bool(peer.body.weight[:, peer.body.local :].any()))
        return 1.0 if used[-1] else 0.5

    peer.body.solve(peer, [batch], score)
    assert used == [True, False]
    assert not peer.body.weight[:, peer.body.local :].any()


def test_ridge_is_that_of_the_normal_equations():
    frame, batch = Downscaler(config()), replace(batch_of(SIZE, samples=12), time=torch.arange(12))
    batch.fine[2:5, :, 4, 4] = torch.nan
    peer = Peer(frame, Ridge(SIZE), linear=True)
    penalty = peer.body.solve(peer, [slice_of(batch, 5, 12), slice_of(batch, 0, 5)], lambda: 0.0)
    x = batch.coarse.flatten(1).double().numpy()
    x = (x - x.mean(0)) / x.std(0)
    y = batch.fine.flatten(1).double().numpy()
    centre = np.nanmean(y, 0)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(90), x.T @ np.nan_to_num(y - centre))
    expected = np.maximum(x @ weights + centre, 0).reshape(12, 1, 10, 12)
    np.testing.assert_allclose(peer(batch)[:, 0].detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_bilinear_is_the_interpolated_field():
    frame, batch = Downscaler(config()), batch_of(SIZE)
    expected = upsample(batch.coarse[:, :1], 2, torch.zeros(3, dtype=torch.bool))
    torch.testing.assert_close(Peer(frame, Bilinear(), linear=True)(batch)[:, 0], expected)
