"""Submission: the test periods predicted into the tree that the benchmark takes, and zipped."""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from orbitlite.cordex.drawing import Predictors, check_targets, draw, is_stochastic
from orbitlite.cordex.fitting import bundle_of
from orbitlite.cordex.form import Form
from orbitlite.cordex.output import said_of
from orbitlite.cordex.task import DOMAINS, EXPERIMENTS, Domain, Experiment
from orbitlite.cordex.tree import Case, cases_of, lacking_of, training_of
from orbitlite.errors import InputError
from orbitlite.files import replacing
from orbitlite.inference.writer import check_apart, mistake
from orbitlite.model.bundle import Bundle
from orbitlite.notice import notice, warn
from orbitlite.progress import bar

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """A file that is to be there in the end."""

    case: Case
    bundle: Bundle
    form: Form
    path: Path


def submit(
    data: Path, runs: Path, out: Path, domains: Sequence[str], experiments: Sequence[str], *,
    templates: Path | None = None, progress: bool = True,
) -> None:  # fmt: skip
    """Predict the test periods of domains and experiments into `out`, and zip what is whole.

    Files that an earlier call has written from the same models and predictors stay.

    Parameters
    ----------
    data : Path
        Folder of the benchmark's data.
    runs : Path
        Folder of the fits.
    out : Path
        Folder of the submission; `OUT.zip` is written beside it once it has all domains and
        experiments.
    domains, experiments : sequence of str
    templates : Path, optional
        Folder of the benchmark's templates. None: coordinates are those of the training targets.
    progress : bool
        Show a bar on a terminal.

    Raises
    ------
    InputError
        If data, models or templates lack or do not fit, or `out` holds something else.
    """
    check_apart(out, [data, runs])
    chosen = [EXPERIMENTS[name] for name in experiments]
    cases = cases_of(data, [DOMAINS[name] for name in domains])
    forms = {name: _form(data, DOMAINS[name], chosen[0], templates) for name in domains}
    jobs = []
    for experiment in chosen:
        bundles = {name: bundle_of(runs, DOMAINS[name], experiment) for name in domains}
        jobs += [
            _Job(case, bundles[case.domain.name], forms[case.domain.name],
                 out / case.output(experiment))
            for case in cases
        ]  # fmt: skip
    _check_models([job.bundle for job in jobs])
    _predict(jobs, progress)
    archive(out)


def _form(data: Path, domain: Domain, experiment: Experiment, templates: Path | None) -> Form:
    if templates is not None:
        return Form.of(templates / f"pr_{domain.name}.nc")
    return Form.of(training_of(data, domain, experiment).target)


def _check_models(bundles: Sequence[Bundle]) -> None:
    """Refuse models of which one submission cannot be made."""
    for bundle in bundles:
        check_targets(bundle)
    drawing = {is_stochastic(bundle): bundle.path for bundle in bundles}
    if len(drawing) > 1:
        raise InputError(
            f"{drawing[True]} draws members and {drawing[False]} does not: models of one "
            "submission are of one kind."
        )
    if not drawing.get(True):
        notice(
            logger,
            "The models draw no members: the files hold one field a day and no dimension member, "
            "as those of deterministic models do.",
        )


def _predict(jobs: Sequence[_Job], progress: bool) -> None:
    opened = [(job, Predictors.of(job.case.predictors)) for job in jobs]
    for job, predictors in opened:
        predictors.check_years(job.case.years)
    there = 0
    days = sum(predictors.time.size for _, predictors in opened)
    with bar("Predicting", days, progress) as advance:
        for job, predictors in opened:
            attrs = _attributes(job)
            advance(0, text=str(job.path.relative_to(job.path.parents[4])))
            if job.path.exists():
                _check_same(job.path, attrs)
                there += 1
                advance(predictors.time.size)
                continue
            draw(job.bundle, predictors, job.form, job.path, attrs, advance)
    if there:
        notice(logger, f"{there} of {len(jobs)} files were there already, of the same models.")


def _attributes(job: _Job) -> dict[str, str]:
    """Return what a file says of itself: by it, a later call knows whether it is the same."""
    with job.case.predictors.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "Conventions": "CF-1.11", "source": f"orbitlite {version('orbitlite')}",
        "orbitlite_model_id": job.bundle.identity, "predictors": job.case.predictors.name,
        "predictors_sha256": digest, "form": job.form.path.name,
    }  # fmt: skip


def _check_same(path: Path, attrs: dict[str, str]) -> None:
    there = said_of(path)
    for name, what in (
        ("orbitlite_model_id", "model"), ("predictors_sha256", "predictors"), ("form", "form"),
    ):  # fmt: skip
        if there.get(name) != attrs[name]:
            raise InputError(
                f"{path} is of another {what}: choose another OUT, or remove it to predict anew."
            )


def archive(out: Path) -> None:
    """Zip a submission that is whole into `OUT.zip`; say what lacks of another.

    Raises
    ------
    InputError
        If some predictions have members and others have none, or the disk refuses.
    """
    lacking = [
        place
        for experiment in EXPERIMENTS.values()
        for place in lacking_of(out, DOMAINS.values(), experiment)
    ]
    target = out.with_name(f"{out.name}.zip")
    if lacking:
        warn(
            logger,
            f"{out} is no whole submission and was not zipped: {len(lacking)} files lack, such as "
            f"{lacking[0]}.",
        )
        return
    files = sorted(path for path in out.rglob("Predictions_*.nc") if path.is_file())
    kinds = {said_of(path)["member"]: path for path in files}
    if len(kinds) > 1:
        raise InputError(
            f"{kinds[True]} has members and {kinds[False]} has none: models of one submission are "
            "of one kind. It was not zipped."
        )
    try:
        with replacing(target) as place, zipfile.ZipFile(place, "w") as into:  # compressed inside
            for path in files:
                into.write(path, Path(out.name) / path.relative_to(out))
    except OSError as error:
        raise mistake(error, target) or error from error
    logger.info("Wrote %s with %d files", target, len(files))
