"""Tree: the files of the benchmark in a folder, and what of them lacks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import netCDF4

from orbitlite.cordex.task import CONDITIONS, PERIODS, PREDICTORS, TARGETS, Domain, Experiment
from orbitlite.errors import InputError

_STATICS = ("Static_fields.nc", "static.nc")
_SHOWN = 6
_YEARS = re.compile(r"_(\d{4}-\d{4}(?:_\d{4}-\d{4})?)\.nc$")


@dataclass(frozen=True)
class Training:
    """The files of an experiment.

    Attributes
    ----------
    predictors, target, statics : Path
    """

    predictors: Path
    target: Path
    statics: Path


@dataclass(frozen=True)
class Case:
    """A file of predictors that is to be predicted from.

    Attributes
    ----------
    domain : Domain
    period, condition, gcm, years : str
        Such as `historical`, `perfect`, `CNRM-CM5`, `1981-2000`.
    predictors : Path
    target : Path or None
        What a model should have predicted, where it is there.
    """

    domain: Domain
    period: str
    condition: str
    gcm: str
    years: str
    predictors: Path
    target: Path | None

    def output(self, experiment: Experiment) -> Path:
        """Return the place of its prediction within a submission."""
        folder = prediction_folder(self.domain, experiment, self.period, self.condition)
        return folder / f"Predictions_pr_tasmax_{self.gcm}_{self.years}.nc"


def prediction_folder(domain: Domain, experiment: Experiment, period: str, condition: str) -> Path:
    """Return the folder of some predictions within a submission."""
    return Path(f"{domain.name}_Domain", experiment.name, period, condition)


def training_of(data: Path, domain: Domain, experiment: Experiment) -> Training:
    """Find the files of a training.

    Raises
    ------
    InputError
        If some lack; the message names them.
    """
    root = _root(data, domain)
    places = [root / "train" / folder for folder in experiment.folders]
    folder = next((place for place in places if place.is_dir()), places[0])
    gcm = domain.gcms[0]
    predictors = _one(folder / "predictors", f"{gcm}_*.nc")
    target = _one(folder / "target", f"pr_tasmax_{gcm}_*.nc")
    statics = next((p for name in _STATICS if (p := folder / "predictors" / name).exists()), None)
    found = {
        str(folder / "predictors" / f"{gcm}_<years>.nc"): predictors,
        str(folder / "target" / f"pr_tasmax_{gcm}_<years>.nc"): target,
        str(folder / "predictors" / _STATICS[0]): statics,
    }
    check_lacking(data, [name for name, path in found.items() if path is None])
    assert predictors is not None
    assert target is not None
    assert statics is not None
    check_variables(predictors, PREDICTORS)
    check_variables(target, TARGETS)
    check_variables(statics, ["orog"])
    return Training(predictors, target, statics)


def cases_of(data: Path, domains: Sequence[Domain]) -> list[Case]:
    """Find the files that a submission is predicted from, and the targets that there are.

    Raises
    ------
    InputError
        If predictors lack; the message names them. If a file lacks variables.
    """
    cases, lacking = [], []
    for domain in domains:
        root = _root(data, domain)
        for period, condition, gcm in itertools.product(PERIODS, CONDITIONS, domain.gcms):
            folder = root / "test" / period / "predictors" / condition
            path = _one(folder, f"{gcm}_*.nc")
            if path is None or (years := _YEARS.search(path.name)) is None:
                lacking.append(str(folder / f"{gcm}_<years>.nc"))
                continue
            check_variables(path, PREDICTORS)
            target = _target(root / "test" / period / "target", domain, gcm)
            cases.append(Case(domain, period, condition, gcm, years[1], path, target))
    check_lacking(data, lacking)
    return cases


def check_lacking(data: Path, lacking: Sequence[str], what: str = "the benchmark's data") -> None:
    """Refuse a tree that is not whole.

    Raises
    ------
    InputError
        If something lacks.
    """
    if lacking:
        more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
        raise InputError(
            f"{data}: {what} are not whole; {len(lacking)} lacking: "
            f"{', '.join(lacking[:_SHOWN])}{more}."
        )


def check_variables(path: Path, names: Iterable[str]) -> None:
    """Refuse a file of the benchmark that has not all of its variables.

    Raises
    ------
    InputError
        If it cannot be read, or lacks some.
    """
    try:
        with netCDF4.Dataset(path) as file:
            lacking = [name for name in names if name not in file.variables]
            found = [*file.variables]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; is it whole?") from error
    if lacking:
        raise InputError(f"{path} has no {', '.join(lacking)}; it has {', '.join(found)}.")


def lacking_of(submission: Path, domains: Iterable[Domain], experiment: Experiment) -> list[str]:
    """Name the predictions of an experiment that a submission has not."""
    found = []
    for domain, period, condition in itertools.product(domains, PERIODS, CONDITIONS):
        folder = submission / prediction_folder(domain, experiment, period, condition)
        for gcm in domain.gcms:
            name = f"Predictions_pr_tasmax_{gcm}_*.nc"
            if _one(folder, name) is None:
                found.append(str(folder / name.replace("*", "<years>")))
    return found


def _root(data: Path, domain: Domain) -> Path:
    """Return the folder of a domain; where there is none, that which is usual."""
    name = f"{domain.name}_domain"
    usual = data / domain.name / name
    return next((place for place in (usual, data / name) if place.is_dir()), usual)


def _target(folder: Path, domain: Domain, gcm: str) -> Path | None:
    names = (gcm, *(alias for name, alias in domain.aliases.items() if name == gcm))
    found: Iterator[Path | None] = (_one(folder, f"pr_tasmax_{name}_*.nc") for name in names)
    return next((path for path in found if path is not None), None)


def _one(folder: Path, pattern: str) -> Path | None:
    """Return the file of a pattern; None if there is none.

    Raises
    ------
    InputError
        If there are several: which of them is meant is not known.
    """
    found = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    if len(found) > 1:
        raise InputError(
            f"{folder} has {len(found)} files {pattern}, and one is expected: "
            f"{', '.join(path.name for path in found[:_SHOWN])}"
        )
    return found[0] if found else None
