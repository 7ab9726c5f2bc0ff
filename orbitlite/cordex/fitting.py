"""Fitting: a fit of `orbitlite fit` on the benchmark's data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from orbitlite.cordex.task import UNITS, Domain, Experiment
from orbitlite.cordex.tree import Training, training_of
from orbitlite.errors import InputError
from orbitlite.model.bundle import Bundle, load_bundle


def run_folder(runs: Path, domain: Domain, experiment: Experiment) -> Path:
    """Return the folder of a fit."""
    return runs / domain.name / experiment.name


def fit(
    data: Path, domain: Domain, experiment: Experiment, runs: Path, others: Sequence[str]
) -> int:
    """Fit a model of a domain and an experiment; leave its bundle in `runs`.

    Parameters
    ----------
    data : Path
        Folder of the benchmark's data.
    domain : Domain
    experiment : Experiment
    runs : Path
    others : sequence of str
        Options of `orbitlite fit`, which win over those of the benchmark.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    InputError
        If files lack, or the fit refuses its data or options.
    """
    from orbitlite.training.cli import main as train

    words = words_of(training_of(data, domain, experiment), experiment)
    folder = run_folder(runs, domain, experiment)
    return train([*words, "--trainer.default_root_dir", str(folder), *others])


def words_of(training: Training, experiment: Experiment) -> list[str]:
    """Return the arguments of `orbitlite fit` for the files of a training."""
    config = files("orbitlite.cordex") / "config.yaml"
    data = {
        "coarse": str(training.predictors), "fine": str(training.target),
        "statics": str(training.statics), "units": json.dumps(dict(UNITS)),
        "train": json.dumps(experiment.train), "validate": json.dumps(experiment.validate),
    }  # fmt: skip
    options = [word for name, value in data.items() for word in (f"--data.{name}", value)]
    return ["fit", "-c", str(config), *options]


def bundle_of(runs: Path, domain: Domain, experiment: Experiment) -> Bundle:
    """Load the bundle of a fit.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    path = run_folder(runs, domain, experiment) / "bundle"
    if not path.is_dir():
        raise InputError(
            f"{path} is not there: fit it first (orbitlite cordex-bench fit DATA --domain "
            f"{domain.name} --experiment {experiment.name} --output {runs})"
        )
    return load_bundle(str(path))
