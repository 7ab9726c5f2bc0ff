"""Frame: what is decoded of a window is what the whole window would give there."""

import pytest
import torch

from orbitlite.batch import Batch, Core
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.decoder import FineDecoder
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.frame import Frame
from orbitlite.model.geometry import Geometry

RAIN = "total_precipitation_24hr"


def network(factor, **settings):
    torch.manual_seed(0)
    settings = {"statics": ["orography"], "decoder_features": 16, "decoder_blocks": 1} | settings
    config = DownscalerConfig(
        inputs=[RAIN, "2m_temperature"], targets=[RAIN], factor=factor, embed_dim=16, num_heads=2,
        depth=1, **settings,
    )  # fmt: skip
    model = Downscaler(config).eval()
    for weight in model.parameters():  # nothing is to be zero
        torch.nn.init.normal_(weight, std=0.1)
    return model


def batch(factor, lat, lon, *, firsts=((0, 0),), shape=None, mesh=False):
    """Return windows of a grid, of which a core is decoded."""
    torch.manual_seed(1)
    samples, height, width = len(firsts), len(lat) - 1, len(lon) - 1
    coarse = torch.rand(samples, 2, height, width) * torch.tensor([9.0, 300.0])[:, None, None]
    statics = torch.rand(samples, 1, factor * height, factor * width)
    lat, lon = (torch.as_tensor(edges).double().expand(samples, -1) for edges in (lat, lon))
    if mesh:
        corners = torch.stack(
            torch.broadcast_tensors(lat[:, :, None], lon[:, None] + 0.1 * lat[:, :, None]), dim=-1
        )
        places = {"corners": corners}
    else:
        places = {"lat_edges": lat, "lon_edges": lon}
    core = None if shape is None else Core(torch.tensor(firsts), shape)
    return Batch(coarse, statics=statics, time=torch.zeros(samples), core=core, **places)


def whole(one):
    return Batch(**{**vars(one), "core": None})


def cores(fields, one, factor):
    """Cut the cores out of fields (B, ..., fH, fW)."""
    height, width = (factor * cells for cells in one.core.shape)
    found = []
    for number, (row, column) in enumerate((factor * one.core.first).tolist()):
        found.append(fields[number, ..., row : row + height, column : column + width])
    return torch.stack(found)


REGION = torch.linspace(50, 22, 15), torch.linspace(0, 30, 16)
# rows to both poles, all longitudes
GLOBE = torch.linspace(90, -90, 15), torch.linspace(0, 360, 16)
MIDDLE = {"firsts": ((5, 6), (0, 0), (10, 11), (0, 11)), "shape": (4, 4)}
BAND = {"firsts": ((0, 0), (5, 0), (10, 0)), "shape": (4, 15)}


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("statics", [["orography"], []])
@pytest.mark.parametrize("noise", [0, 2])
def test_a_core_is_as_the_whole_window_makes_it(factor, statics, noise):
    model = network(factor, statics=statics, noise=noise)
    one = batch(factor, *REGION, **MIDDLE)
    with torch.no_grad():
        expected = cores(model(whole(one)), one, factor)
        found = model(one)
    assert found.shape == (4, 1, 1, 4 * factor, 4 * factor)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("constraint", ["none", "conserve"])
@pytest.mark.parametrize("mesh", [False, True])
def test_poles_seams_and_constraints(constraint, mesh):
    model = network(2, constraint=constraint)
    one = batch(2, *(REGION if mesh else GLOBE), **(MIDDLE if mesh else BAND), mesh=mesh)
    with torch.no_grad():
        expected = cores(model(whole(one)), one, 2)
        torch.testing.assert_close(model(one), expected, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_core():
    model = network(4)
    one = batch(4, *REGION, **MIDDLE)
    found = []
    for fields in (model(one), cores(model(whole(one)), one, 4)):
        model.zero_grad()
        fields.square().sum().backward()
        found.append([weight.grad.clone() for weight in model.parameters()])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


def test_what_lies_beyond_the_margin_is_not_computed(monkeypatch):
    """The last stage makes the core and two cells around it, not the window."""
    model = network(4)
    sizes = []
    model.decoder.out.register_forward_hook(lambda _, args, __: sizes.append(args[0].shape[-2:]))
    with torch.no_grad():
        model(batch(4, *REGION, **MIDDLE))
        model(whole(batch(4, *REGION, **MIDDLE)))
    assert sizes == [(4 * 4 + 4, 4 * 4 + 4), (4 * 14, 4 * 15)]


def test_members_are_the_same_with_less_around_them():
    model = network(2, noise=2)
    one = batch(2, *REGION, **MIDDLE)
    less = batch(2, REGION[0][1:-1], REGION[1][1:-1], firsts=((4, 5),), shape=(4, 4))
    less.coarse = one.coarse[:1, :, 1:-1, 1:-1]
    less.statics = one.statics[:1, :, 2:-2, 2:-2]
    noises = [
        model._noise(some, model._seen(some, None), _draw()).maps(2, 2, Frame.of(some).finer(2))[:2]
        for some in (one, less)
    ]
    torch.testing.assert_close(*noises, rtol=0, atol=0)


def _draw():
    from orbitlite.model.noise import Draw

    return Draw.of(3, (0, 4))


@pytest.mark.parametrize("mesh", [False, True])
def test_places_of_the_core(mesh):
    one = batch(2, *REGION, **MIDDLE, mesh=mesh)
    geometry, part = Geometry.of(whole(one)), Geometry.of_core(one)
    assert part.shape == (4, 4)
    for ours, theirs in zip(part.centres(2), geometry.centres(2), strict=True):
        theirs = theirs.expand(4, 28, 30)
        torch.testing.assert_close(ours.expand(4, 8, 8), cores(theirs[:, None], one, 2)[:, 0])


def test_a_batch_is_joined_and_sent_with_its_cores():
    parts = [batch(2, *REGION, firsts=(first,), shape=(4, 4)) for first in MIDDLE["firsts"]]
    joined = Batch.collate(parts).to("cpu")
    assert joined.core.first.tolist() == [list(first) for first in MIDDLE["firsts"]]
    assert joined.core.shape == (4, 4)


def test_of_a_decoder_that_takes_no_frame_the_core_is_cut_out():
    class Plain(FineDecoder):
        def forward(self, tokens, context, borders, noise=None):
            return super().forward(tokens, context, borders, noise)

    model = network(2)
    one = batch(2, *REGION, **MIDDLE)
    with torch.no_grad():
        expected = model(one)
        plain = Plain(model.config, 5)
        plain.load_state_dict(model.decoder.state_dict())
        model.decoder = plain.eval()
        assert not plain.takes_frame
        torch.testing.assert_close(model(one), expected, rtol=1e-4, atol=1e-4)
