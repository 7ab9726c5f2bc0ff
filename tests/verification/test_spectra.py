"""Power spectra: single modes, Parseval, quadrature, and SciPy as oracle."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from scipy.special import sph_harm_y

from orbitlite.grids.latlon import LatLonGrid
from orbitlite.verification.planar import PlanarTransform, cosine_transform
from orbitlite.verification.spectra import MeanSpectrum, Spectrum, transform_for
from orbitlite.verification.spherical import SphericalTransform, quadrature


def noise(seed, shape):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def cell_rows(count):
    edges = torch.linspace(90, -90, count + 1, dtype=torch.float64)
    return 0.5 * (edges[1:] + edges[:-1]), edges


def pole_rows(count):
    rows = torch.linspace(90, -90, count, dtype=torch.float64)
    return rows, torch.cat([rows[:1], 0.5 * (rows[1:] + rows[:-1]), rows[-1:]])


def split_rows(count, factor):
    """Rows of a grid with rows at the poles after each cell is cut into equal parts."""
    _, coarse = pole_rows(count)
    steps = torch.arange(factor, dtype=torch.float64) / factor
    edges = (coarse[:-1, None] + steps * (coarse[1:] - coarse[:-1])[:, None]).flatten()
    edges = torch.cat([edges, coarse[-1:]])
    return 0.5 * (edges[1:] + edges[:-1]), edges


ROWS = {"cells": cell_rows(32), "poles": pole_rows(33), "split": split_rows(9, 4)}


def harmonic(degree, order, rows, width):
    """Real field of one degree and order whose mean square over the sphere is one."""
    colatitude = np.deg2rad(90.0 - rows.numpy())[:, None]
    longitude = 2 * np.pi * (np.arange(width) + 0.5)[None, :] / width
    field = sph_harm_y(degree, order, colatitude, longitude).real * np.sqrt(4 * np.pi)
    return torch.from_numpy(field * (np.sqrt(2) if order else 1.0))


def test_cosine_transform_agrees_with_scipy():
    field = noise(0, (3, 9, 14))
    wanted = dctn(field.numpy(), axes=(1, 2), norm="ortho") / np.sqrt(9 * 14)
    assert cosine_transform(field).numpy() == pytest.approx(wanted, abs=1e-12)


def test_planar_parseval():
    field = noise(1, (2, 12, 12))
    field = field - field.mean(dim=(-2, -1), keepdim=True)
    total = cosine_transform(field).square().sum(dim=(-2, -1))
    assert total.numpy() == pytest.approx(field.square().mean(dim=(-2, -1)).numpy())


def test_planar_rings_hold_all_modes_up_to_the_cut():
    transform = PlanarTransform(12, 20, dy=10.0, dx=10.0)
    field = noise(2, (1, 12, 20))
    squared = (dctn(field[0].numpy(), norm="ortho") ** 2) / 240
    m, n = np.meshgrid(np.arange(12) / 240, np.arange(20) / 400, indexing="ij")
    wavenumber = np.hypot(m, n)
    used = (wavenumber > 0) & (np.round(wavenumber * 240) <= 12)
    spectrum = (transform.power(field)[0] * transform.modes).sum()
    assert float(transform.modes.sum()) == used.sum()
    assert float(spectrum) == pytest.approx(squared[used].sum())


@pytest.mark.parametrize(("axis", "mode"), [(0, 3), (1, 5)])
def test_a_single_wave_lies_in_its_ring(axis, mode):
    height, width, dy, dx = 16, 24, 20.0, 15.0
    transform = PlanarTransform(height, width, dy, dx)
    size, step = ((height, dy), (width, dx))[axis]
    wave = torch.cos(torch.pi * mode * (torch.arange(size, dtype=torch.float64) + 0.5) / size)
    field = wave[:, None].expand(height, width) if axis == 0 else wave.expand(height, width)
    power = (transform.power(field[None])[0] * transform.modes).numpy()
    strongest = int(power.argmax())
    assert power[strongest] == pytest.approx(0.5)
    assert power.sum() == pytest.approx(0.5)
    assert float(transform.wavelength[strongest]) == pytest.approx(2 * size * step / mode, rel=0.12)


@pytest.mark.parametrize("kind", ROWS)
def test_quadrature_is_exact_up_to_its_degree(kind):
    rows, edges = ROWS[kind]
    x = torch.sin(torch.deg2rad(rows))
    weights = quadrature(x, torch.sin(torch.deg2rad(edges)), len(rows) - 2)
    for power in range(len(rows) - 1):
        wanted = 2 / (power + 1) if power % 2 == 0 else 0.0
        assert float((weights * x**power).sum()) == pytest.approx(wanted, abs=1e-10)


def test_quadrature_of_cell_centres_is_fejers_first_rule():
    count = 14
    rows, edges = cell_rows(count)
    angle = np.pi * (np.arange(count) + 0.5) / count
    j = np.arange(1, count // 2 + 1)
    wanted = 2 / count * (1 - 2 * (np.cos(2 * np.outer(angle, j)) / (4 * j**2 - 1)).sum(axis=1))
    x, sines = torch.sin(torch.deg2rad(rows)), torch.sin(torch.deg2rad(edges))
    assert quadrature(x, sines, count - 1).numpy() == pytest.approx(wanted)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize(("degree", "order"), [(1, 0), (3, 2), (7, 7), (12, 5), (15, 0)])
def test_a_single_harmonic_lies_in_its_degree(kind, degree, order):
    rows, edges = ROWS[kind]
    transform = SphericalTransform(rows, edges, 64)
    power = transform.power(harmonic(degree, order, rows, 64)[None])[0] * transform.modes
    wanted = np.zeros(len(power))
    wanted[degree - 1] = 1.0
    assert power.numpy() == pytest.approx(wanted, abs=1e-9)


def test_spherical_parseval_on_cell_centres():
    rows, edges = ROWS["cells"]
    generator = np.random.default_rng(3)
    field, variance = torch.zeros(32, 64, dtype=torch.float64), 0.0
    for degree in range(1, 15):
        for order in range(degree + 1):
            amplitude = generator.standard_normal()
            field += amplitude * harmonic(degree, order, rows, 64)
            variance += amplitude**2
    transform = SphericalTransform(rows, edges, 64)
    total = float((transform.power(field[None])[0] * transform.modes).sum())
    assert total == pytest.approx(variance)


def test_treating_cell_centres_as_rows_with_poles_would_be_wrong():
    from torch_harmonics import RealSHT

    rows, _ = ROWS["cells"]
    field = harmonic(7, 3, rows, 64)
    coefficients = RealSHT(32, 64, lmax=16, mmax=16, grid="equiangular").double()(field)
    leaked = coefficients.abs().square().sum(dim=-1) / coefficients.abs().square().sum()
    assert float(leaked[7]) < 0.999


def test_spherical_degrees_carry_their_wavelength():
    rows, edges = ROWS["cells"]
    transform = SphericalTransform(rows, edges, 64)
    assert len(transform.modes) == 15
    assert float(transform.wavelength[3]) == pytest.approx(2 * np.pi * 6371 / 4)
    assert transform.modes.tolist() == [2 * degree + 1 for degree in range(1, 16)]


def test_missing_cells_are_set_to_the_mean_and_empty_days_skipped():
    fields, weights = noise(4, (3, 8, 10)), torch.ones(3, 8, 10, dtype=torch.float64)
    weights[0, 2:4, 3] = 0.0
    weights[2] = 0.0
    spectrum = MeanSpectrum(PlanarTransform(8, 10, 1.0, 1.0))
    spectrum.update(torch.where(weights > 0, fields, 1e9), weights)
    filled = fields[:2].clone()
    filled[0, 2:4, 3] = filled[0][weights[0] > 0].mean()
    wanted = PlanarTransform(8, 10, 1.0, 1.0).power(filled).mean(dim=0)
    assert spectrum.compute().power == pytest.approx(wanted.numpy())


def test_chunks_do_not_change_the_mean():
    fields, weights = noise(5, (4, 8, 10)), torch.ones(4, 8, 10, dtype=torch.float64)
    whole = MeanSpectrum(PlanarTransform(8, 10, 1.0, 1.0))
    whole.update(fields, weights)
    parts = MeanSpectrum(PlanarTransform(8, 10, 1.0, 1.0))
    parts.update(fields[:1], weights[:1])
    parts.update(fields[1:], weights[1:])
    assert parts.compute().power == pytest.approx(whole.compute().power)


def test_distance_is_in_decibel_and_sees_lost_variance():
    bands = np.array([100.0, 50.0])
    truth = Spectrum(bands, np.array([4.0, 1.0]), np.ones(2), False)
    smooth = Spectrum(bands, np.array([4.0, 0.01]), np.ones(2), False)
    assert smooth.distance(truth) == pytest.approx(20 / np.sqrt(2))
    assert truth.distance(truth) == 0.0
    # without the root of the mean over the bands
    assert smooth.ralsd(truth) == pytest.approx(20**2 / 2)
    assert np.isnan(
        smooth.ralsd(Spectrum(smooth.wavelength, 0 * smooth.power, smooth.modes, False))
    )


def test_the_grid_chooses_the_transform():
    _, edges = (x.numpy() for x in cell_rows(16))
    around, half = np.linspace(0, 360, 33), np.linspace(0, 180, 33)
    assert transform_for(LatLonGrid.from_edges(edges, around)).spherical
    assert not transform_for(LatLonGrid.from_edges(edges, half)).spherical
    assert not transform_for(LatLonGrid.from_edges(edges[4:13], around)).spherical
    region = transform_for(LatLonGrid.from_edges([62.0, 60.0, 58.0], [0.0, 2, 4]))
    assert float(region.wavelength[0]) == pytest.approx(2 * 2 * 111.19 * 2 * 0.5, rel=1e-3)
