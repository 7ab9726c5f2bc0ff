"""The benchmark's scores against formulas written out in numpy and scipy."""

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import wasserstein_distance

from orbitlite.cordex import drawing
from orbitlite.cordex.form import Form
from orbitlite.cordex.indices import signals
from orbitlite.cordex.output import writing
from orbitlite.cordex.scores import score
from orbitlite.cordex.spectrum import RadialSpectrum
from orbitlite.cordex.truth import Truth
from orbitlite.errors import InputError

M, H, W = 3, 6, 8
# Two years of which the second misses a leap day in the midst of spells.
DAYS = np.concatenate([
    np.arange("2003-11-20T12", "2004-01-10T12", dtype="datetime64[D]"),
    np.arange("2004-02-10", "2004-02-29", dtype="datetime64[D]"),
    np.arange("2004-03-01", "2004-03-20", dtype="datetime64[D]"),
]).astype("datetime64[ns]") + np.timedelta64(12, "h")  # fmt: skip
YEARS = DAYS.astype("datetime64[Y]").astype(int) + 1970


def nothing(*_, **__):
    pass


@pytest.fixture(scope="module")
def fields():
    """Return prediction (M, T, H, W) and truth (1, T, H, W) of both variables, with persistence."""
    random = np.random.default_rng(4)

    def made(members):
        noise = random.normal(size=(members, len(DAYS), H, W))
        for day in range(1, len(DAYS)):
            noise[:, day] = 0.7 * noise[:, day - 1] + 0.7 * noise[:, day]
        warm = 298 + 3 * noise + random.normal(size=noise.shape)
        return {
            "pr": np.maximum(0, 6 * noise).astype("f4"), "tasmax": warm.astype("f4"),
        }  # fmt: skip

    return made(M), made(1)


@pytest.fixture(scope="module")
def scored(fields, tmp_path_factory):
    """Score the files of these fields."""
    folder = tmp_path_factory.mktemp("scores")
    ours, truth = fields
    path, target = folder / "ours.nc", folder / "truth.nc"
    dims = ("time", "lat", "lon")
    ds = xr.Dataset(
        {name: (dims, values[0]) for name, values in truth.items()},
        {"time": DAYS, "lat": np.arange(40.0, 40 + H), "lon": np.arange(5.0, 5 + W)},
    )
    ds.to_netcdf(target)
    form = Form.of(target)
    with xr.open_dataset(target, decode_times=False) as raw:
        time = raw["time"].variable.load()
    with writing(path, form, time, M, {}) as output:
        output.put(slice(0, len(DAYS)), ours)
    with netCDF4.Dataset(path) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "_BYTES", 4 * 2 * M * H * W * 20)  # 20 days at once
        return score(file, Truth.of(target, ds, form), nothing)


def longest(flags):
    """Return the longest run of True in a sequence."""
    best = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        best = max(best, run)
    return best


def by_year(values, of):
    """Return the mean over the years of what a function gives of their days."""
    return np.mean([of(values[year == YEARS]) for year in np.unique(YEARS)], axis=0)


def spells(flags):
    return by_year(flags, lambda part: np.apply_along_axis(longest, 0, part))


def interannual(values):
    return np.std([values[year == YEARS].mean(0) for year in np.unique(YEARS)], axis=0)


def lag(values):
    found = np.empty((H, W))
    for cell in np.ndindex(H, W):
        series = values[:, *cell]
        found[cell] = np.corrcoef(series[:-1], series[1:])[0, 1]
    return found


RAIN = {
    "mean": lambda x: x.mean(0), "interannual": interannual,
    "rx1day": lambda x: by_year(x, lambda part: part.max(0)),
    "sdii": lambda x: np.nanmean(np.where(x >= 1, x, np.nan), axis=0),
    "cdd": lambda x: spells(x < 1), "cwd": lambda x: spells(x >= 1), "lag1": lag,
    "cell_p98": lambda x: np.quantile(x, 0.98, axis=0),
    "cell_p99.9": lambda x: np.quantile(x, 0.999, axis=0),
}  # fmt: skip
WARM = {
    "mean": lambda x: x.mean(0), "interannual": interannual, "lag1": lag,
    "txx": lambda x: by_year(x, lambda part: part.max(0)),
    "txn": lambda x: by_year(x, lambda part: part.min(0)),
    "su": lambda x: by_year(x > 300, lambda part: part.sum(0)),
    "cell_p98": lambda x: np.quantile(x, 0.98, axis=0),
    "cell_p99.9": lambda x: np.quantile(x, 0.999, axis=0),
}  # fmt: skip
CASES = [("pr", name) for name in RAIN] + [("tasmax", name) for name in WARM]


@pytest.mark.parametrize(("variable", "index"), CASES, ids=map("-".join, CASES))
def test_indices(fields, scored, variable, index):
    of = {"pr": RAIN, "tasmax": WARM}[variable][index]
    ours, truth = ([of(x.astype(float)) for x in part[variable]] for part in fields)
    np.testing.assert_allclose(scored.ours[variable][index], ours, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(scored.truth[variable][index], truth, rtol=2e-5, atol=1e-6)
    found, mean, wanted = scored.scores[variable], np.mean(ours, axis=0), truth[0]
    assert found[f"{index}_bias"] == pytest.approx((mean - wanted).mean(), rel=1e-3, abs=1e-5)
    assert found[f"{index}_abs_bias"] == pytest.approx(np.abs(mean - wanted).mean(), rel=1e-3)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mean / wanted
    expected = ratio[np.isfinite(ratio)].mean()
    assert found[f"{index}_ratio"] == pytest.approx(expected, rel=1e-3)


def test_every_index_has_an_oracle(scored):
    assert {(name, index) for name, found in scored.ours.items() for index in found} == {*CASES}


@pytest.mark.parametrize("name", ["pr", "tasmax"])
def test_errors(fields, scored, name):
    ours, truth = (part[name].astype(float) for part in fields)
    found = scored.scores[name]
    error = np.sqrt(((ours.mean(0) - truth[0]) ** 2).mean(0)).mean()
    assert found["rmse"] == pytest.approx(error, rel=1e-5)
    assert found["member_rmse"] == pytest.approx(
        np.sqrt(((ours - truth) ** 2).mean((0, 1))).mean(), rel=1e-5
    )
    pairs = np.abs(ours[:, None] - ours[None]).sum((0, 1)) / (2 * M * (M - 1))
    crps = (np.abs(ours - truth).mean(0) - pairs).mean()
    assert found["crps"] == pytest.approx(crps, rel=1e-4)
    spread = (M + 1) / M * ours.var(0, ddof=1).mean() / ((ours.mean(0) - truth[0]) ** 2).mean()
    assert found["spread_skill"] == pytest.approx(np.sqrt(spread), rel=1e-4)


@pytest.mark.parametrize("name", ["pr", "tasmax"])
def test_wasserstein(fields, scored, name):
    ours, truth = (part[name] for part in fields)
    pooled = [wasserstein_distance(one.ravel(), truth[0].ravel()) for one in ours]
    assert scored.scores[name]["wasserstein_pooled"] == pytest.approx(np.mean(pooled), rel=1e-4)
    cells = [
        wasserstein_distance(one[:, *cell], truth[0][:, *cell])
        for one in ours for cell in np.ndindex(H, W)
    ]  # fmt: skip
    assert scored.scores[name]["wasserstein"] == pytest.approx(np.mean(cells), rel=1e-4)


def rings(field):
    """Return the radially averaged power of a field, mode by mode."""
    power = np.abs(np.fft.fftshift(np.fft.fft2(field))) ** 2
    sums, counts = {}, {}
    for row, column in np.ndindex(power.shape):
        ring = int(np.hypot(row - (power.shape[0] - 1) / 2, column - (power.shape[1] - 1) / 2))
        sums[ring] = sums.get(ring, 0.0) + power[row, column]
        counts[ring] = counts.get(ring, 0) + 1
    # A ring without a mode is zero.
    return np.array([sums.get(k, 0.0) / max(1, counts.get(k, 0)) for k in range(max(sums) + 1)])


@pytest.mark.parametrize("name", ["pr", "tasmax"])
def test_ralsd(fields, scored, name):
    ours, truth = (
        np.mean([rings(field) for field in part[name].astype(float).reshape(-1, H, W)], axis=0)
        for part in fields
    )
    expected = np.mean((10 * np.log10(truth / ours)) ** 2)
    assert scored.scores[name]["ralsd"] == pytest.approx(expected, rel=1e-4)


def test_power_of_an_odd_and_an_even_grid():
    for shape in ((5, 5), (4, 7)):
        field = np.random.default_rng(1).normal(size=shape)
        spectrum = RadialSpectrum(shape)
        spectrum.update(torch.from_numpy(field)[None, None])
        np.testing.assert_allclose(spectrum.power(), rings(field))


def test_rain_and_warmth_go_together(fields, scored):
    def correlation(part, member):
        return np.array([
            np.corrcoef(part["pr"][member][:, *cell], part["tasmax"][member][:, *cell])[0, 1]
            for cell in np.ndindex(H, W)
        ])  # fmt: skip

    ours = np.mean([correlation(fields[0], member) for member in range(M)], axis=0)
    away = ours - correlation(fields[1], 0)
    found = scored.scores["pr"]
    assert found["pr_tasmax_correlation_bias"] == pytest.approx(away.mean(), rel=1e-3)
    assert found["pr_tasmax_correlation_abs_bias"] == pytest.approx(np.abs(away).mean(), rel=1e-3)


def test_signals_are_changes_less_those_of_the_truth():
    later = torch.tensor([[[4.0, 2.0]], [[6.0, 2.0]]])
    before = torch.tensor([[[1.0, 2.0]], [[3.0, 2.0]]])
    truth, past = torch.tensor([[[9.0, 1.0]]]), torch.tensor([[[5.0, 3.0]]])
    found = signals({"a": later}, {"a": before}, {"a": truth}, {"a": past})
    # ours change by 3 and 0, the truth by 4 and -2
    assert found == {"a_signal_bias": 0.5, "a_signal_abs_bias": 1.5}


def test_predictions_of_another_shape_are_refused(fields, tmp_path):
    dims, axes = ("time", "lat", "lon"), {"lat": np.arange(40.0, 40 + H), "lon": np.arange(W)}
    ds = xr.Dataset(
        {name: (dims, values[0]) for name, values in fields[1].items()}, {"time": DAYS, **axes}
    )
    ds.to_netcdf(tmp_path / "truth.nc")
    truth = Truth.of(tmp_path / "truth.nc", ds, Form.of(tmp_path / "truth.nc"))
    ds.isel(time=slice(9)).to_netcdf(tmp_path / "ours.nc")
    with netCDF4.Dataset(tmp_path / "ours.nc") as file, pytest.raises(InputError, match="shape"):
        score(file, truth, nothing)
    ds.drop_vars("tasmax").to_netcdf(tmp_path / "bare.nc")
    with netCDF4.Dataset(tmp_path / "bare.nc") as file, pytest.raises(InputError, match="tasmax"):
        score(file, truth, nothing)
    ds.where(ds.lat < 44).to_netcdf(tmp_path / "holes.nc")
    with netCDF4.Dataset(tmp_path / "holes.nc") as file, pytest.raises(InputError, match="missing"):
        score(file, truth, nothing)
