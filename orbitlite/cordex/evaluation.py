"""Evaluation: scores of held-back years, and of a submission where targets are there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import netCDF4
import xarray as xr

from orbitlite.cordex.drawing import Predictors, check_targets, draw
from orbitlite.cordex.fitting import bundle_of, run_folder
from orbitlite.cordex.form import Form
from orbitlite.cordex.indices import signals
from orbitlite.cordex.scores import Scored, score
from orbitlite.cordex.task import DOMAINS, EXPERIMENTS, TARGETS, Domain, Experiment
from orbitlite.cordex.tree import Case, cases_of, training_of
from orbitlite.cordex.truth import Truth
from orbitlite.data.splits import read_period
from orbitlite.errors import InputError
from orbitlite.model.bundle import Bundle
from orbitlite.notice import warn
from orbitlite.progress import bar

logger = logging.getLogger(__name__)

HELD_BACK = "held_back"
"""What the years are called that a fit has not learned from."""


@dataclass(frozen=True)
class Row:
    """Scores of a file of predictions.

    Attributes
    ----------
    domain, experiment, period, condition, gcm, years : str
    scores : dict
        `{variable: {score: value}}`.
    """

    domain: str
    experiment: str
    period: str
    condition: str
    gcm: str
    years: str
    scores: dict[str, dict[str, float]] = field(default_factory=dict)


def evaluate(
    data: Path, runs: Path, domains: Sequence[str], experiments: Sequence[str], *,
    submission: Path | None = None, progress: bool = True,
) -> list[Row]:  # fmt: skip
    """Score the models that are there.

    Parameters
    ----------
    data : Path
        Folder of the benchmark's data.
    runs : Path
        Folder of the fits.
    domains, experiments : sequence of str
        Those of which there is no fit are passed over.
    submission : Path, optional
        Predictions to score too, where `data` has their targets.
    progress : bool
        Show bars on a terminal.

    Returns
    -------
    list of Row

    Raises
    ------
    InputError
        If there is no fit, data lack, or what is compared does not fit together.
    """
    rows = []
    pairs = [(DOMAINS[d], EXPERIMENTS[e]) for d in domains for e in experiments]
    there = [pair for pair in pairs if run_folder(runs, *pair).is_dir()]
    if not there:
        raise InputError(
            f"{runs} has no fit of {', '.join(domains)} and {', '.join(experiments)}: fit them "
            "first (orbitlite cordex-bench fit)."
        )
    for domain, experiment in there:
        rows.append(_held_back(data, runs, domain, experiment, progress))
    if submission is not None:
        for domain, experiment in there:
            rows += _submitted(data, submission, domain, experiment, progress)
    return rows


def _held_back(
    data: Path, runs: Path, domain: Domain, experiment: Experiment, progress: bool
) -> Row:
    bundle = bundle_of(runs, domain, experiment)
    check_targets(bundle)
    _check_held_back(bundle, experiment)
    training = training_of(data, domain, experiment)
    predictors = Predictors.of(training.predictors, experiment.held_back)
    form = Form.of(training.target)
    text, days = f"{domain.name} {experiment.name}, held-back years", predictors.time.size
    with TemporaryDirectory(dir=run_folder(runs, domain, experiment)) as folder:
        path = Path(folder, "held_back.nc")
        with bar(f"Predicting {text}", days, progress) as advance:
            draw(bundle, predictors, form, path, {}, advance)
        with bar(f"Scoring {text}", days, progress) as advance, netCDF4.Dataset(path) as file:
            found = score(file, Truth.of(training.target, predictors.fields, form), advance)
    years = "-".join(experiment.held_back)
    return _row(domain, experiment, HELD_BACK, "perfect", domain.gcms[0], years, found.scores)


def _check_held_back(bundle: Bundle, experiment: Experiment) -> None:
    """Refuse a model that has learned from the years that are to be scored.

    That its checkpoint was chosen by them is told: the scores are a little better for it.
    """
    known, years = bundle.metadata.get("training", {}), "-".join(experiment.held_back)
    if trained := known.get("period"):
        if _shared(trained, experiment):
            raise InputError(
                f"{bundle.path} has learned from {trained[0]} to {trained[1]}: the years {years} "
                "are not held back."
            )
        chosen = known.get("validation")
        if chosen is None or _shared(chosen, experiment):
            how = "may have been" if chosen is None else "was"
            warn(
                logger,
                f"The checkpoint of {bundle.path} {how} chosen by the years {years}, which are "
                "scored: the scores of other years will be somewhat worse. Fit it again, without "
                "data.validate of your own.",
            )


def _shared(period: Sequence[str], experiment: Experiment) -> bool:
    """Tell whether a period has a day of the years that are held back."""
    first, last = read_period("held back", experiment.held_back)
    begin, end = (read_period("training", [text[:10], text[:10]]) for text in period)
    return bool(begin[0] <= last and first <= end[1])


def _submitted(
    data: Path, submission: Path, domain: Domain, experiment: Experiment, progress: bool
) -> Iterator[Row]:
    """Score the predictions of a submission whose targets are there."""
    before: dict[tuple[str, str], Scored] = {}
    for case in cases_of(data, [domain]):
        path = submission / case.output(experiment)
        if case.target is None:
            continue
        if not path.is_file():
            raise InputError(
                f"{path} is not there: predict it first (orbitlite cordex-bench submit)"
            )
        found = _scored(path, case, progress)
        key, scores = (case.condition, case.gcm), {n: dict(s) for n, s in found.scores.items()}
        if case.period == "historical":
            before[key] = found
        elif key in before:
            past = before[key]
            for name in TARGETS:
                scores[name] |= signals(
                    found.ours[name], past.ours[name], found.truth[name], past.truth[name]
                )
        yield _row(domain, experiment, case.period, case.condition, case.gcm, case.years, scores)


def _scored(path: Path, case: Case, progress: bool) -> Scored:
    assert case.target is not None
    form = Form.of(path)
    with xr.open_dataset(path) as times, netCDF4.Dataset(path) as file:
        truth = Truth.of(case.target, times, form)
        with bar(f"Scoring {path.name}", len(truth.years), progress) as advance:
            return score(file, truth, advance)


def _row(
    domain: Domain, experiment: Experiment, period: str, condition: str, gcm: str, years: str,
    scores: Mapping[str, Mapping[str, float]],
) -> Row:  # fmt: skip
    plain = {name: dict(found) for name, found in scores.items()}
    return Row(domain.name, experiment.name, period, condition, gcm, years, plain)
