"""The files of the benchmark: found under any of their spellings, and what lacks is named."""

import netCDF4
import pytest

from orbitlite.cordex.task import DOMAINS, EXPERIMENTS, PREDICTORS, TARGETS
from orbitlite.cordex.tree import cases_of, training_of
from orbitlite.errors import InputError

SA, ESD = DOMAINS["SA"], EXPERIMENTS["ESD_pseudo_reality"]
YEARS = {"historical": "1981-2000", "mid_century": "2041-2060", "end_century": "2080-2099"}


def empty(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(path, "w") as file:
        for name in names:
            file.createVariable(name, "f4", ())


@pytest.fixture
def tree(tmp_path):
    """Return a folder with all files of SA, which hold names alone."""
    root = tmp_path / "SA" / "SA_domain"
    for period, years in YEARS.items():
        for condition in ("perfect", "imperfect"):
            for gcm in ("ACCESS-CM2", "NorESM2-MM"):
                folder = root / "test" / period / "predictors" / condition
                empty(folder / f"{gcm}_{years}.nc", PREDICTORS)
    folder = root / "train" / "ESD_pseudo_reality"
    empty(folder / "predictors" / "ACCESS-CM2_1961-1980.nc", PREDICTORS)
    empty(folder / "predictors" / "Static_fields.nc", ["orog"])
    empty(folder / "target" / "pr_tasmax_ACCESS-CM2_1961-1980.nc", TARGETS)
    return tmp_path


def test_a_submission_has_a_file_for_each_of_predictors(tree):
    found = {str(case.output(ESD)) for case in cases_of(tree, [SA])}
    assert len(found) == 12
    for name in (
        "SA_Domain/ESD_pseudo_reality/historical/perfect/"
        "Predictions_pr_tasmax_ACCESS-CM2_1981-2000.nc",
        "SA_Domain/ESD_pseudo_reality/end_century/imperfect/"
        "Predictions_pr_tasmax_NorESM2-MM_2080-2099.nc",
    ):
        assert name in found


def test_what_lacks_is_named(tree):
    folder = tree / "SA/SA_domain/test/mid_century/predictors/imperfect"
    (folder / "NorESM2-MM_2041-2060.nc").unlink()
    with pytest.raises(InputError, match=r"1 lacking: .*imperfect/NorESM2-MM_<years>\.nc"):
        cases_of(tree, [SA])
    (tree / "SA/SA_domain/train/ESD_pseudo_reality/predictors/Static_fields.nc").unlink()
    with pytest.raises(InputError, match=r"1 lacking: .*predictors/Static_fields\.nc"):
        training_of(tree, SA, ESD)


def test_an_absent_domain_lacks_all(tree):
    with pytest.raises(InputError, match=r"12 lacking: .* and 6 more"):
        cases_of(tree, [SA, DOMAINS["NZ"]])


def test_other_spellings_are_found(tree):
    domain = tree / "SA" / "SA_domain"
    train = domain / "train" / "ESD_pseudo_reality"
    (train / "predictors" / "Static_fields.nc").rename(train / "predictors" / "static.nc")
    train.rename(train.with_name("ESD_pseudo-reality"))
    domain.rename(tree / "SA_domain")
    found = training_of(tree, SA, ESD)
    assert found.statics.name == "static.nc"
    assert found.target.parts[-3] == "ESD_pseudo-reality"
    target = tree / "SA_domain/test/historical/target/pr_tasmax_Nor-ESM2-MM_1981-2000.nc"
    empty(target, TARGETS)
    [case] = [case for case in cases_of(tree, [SA]) if case.target and case.condition == "perfect"]
    assert (case.gcm, case.target) == ("NorESM2-MM", target)


def test_two_files_for_one_are_refused(tree):
    folder = tree / "SA/SA_domain/test/historical/predictors/perfect"
    empty(folder / "ACCESS-CM2_1961-1980.nc", PREDICTORS)
    with pytest.raises(InputError, match="has 2 files ACCESS-CM2_"):
        cases_of(tree, [SA])


def test_a_file_without_a_variable_is_refused(tree):
    path = tree / "SA/SA_domain/test/historical/predictors/perfect/ACCESS-CM2_1981-2000.nc"
    empty(path, [name for name in PREDICTORS if name != "q_700"])
    with pytest.raises(InputError, match=r"1981-2000\.nc has no q_700; it has z_850"):
        cases_of(tree, [SA])
    path.write_bytes(b"no file of this kind")
    with pytest.raises(InputError, match=r"cannot be read: .*; is it whole"):
        cases_of(tree, [SA])
