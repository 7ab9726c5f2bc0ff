"""What compression costs in skill: fits at several leaf budgets, scored on the test period."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from orbitlite.api import evaluate, load, predict
from orbitlite.benchmark.session import Session
from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.inference.leaves import draw_leaves
from orbitlite.notice import notice
from orbitlite.training.cli import main
from orbitlite.training.sources import data_of_config

logger = logging.getLogger(__name__)

CASES = (
    ("every patch", None, "gradient"),
    *(
        (name, share, name)
        for share in (0.5, 0.25, 0.125, 0.0625)
        for name in ("gradient", "uniform")
    ),
    ("variance", 0.25, "variance"),
    ("learned", 0.25, "learned"),
)
"""Name, share of the patches, saliency."""


def rows(
    config: str, epochs: int, session: Session, report: str | None = None
) -> Iterator[dict[str, Any]]:
    """Fit a config at several budgets, same steps and seed, and score the test period.

    Parameters
    ----------
    config : str
        Config of `orbitlite fit` with a test period and one target.
    epochs : int
        Epochs of each fit.
    session : Session
    report : str, optional
        Folder for pictures of the leaves.

    Returns
    -------
    iterator of dict
        `variant`, `token_share`, `minutes` of the fit, `rmse`, `p99_ratio` and
        `spectral_distance` (dB) of the first target. Budgets that the grid cannot have are left
        out, with a notice.
    """
    if epochs < 1:
        raise InputError(f"epochs: expected 1 or more, found {epochs}")
    return session.over(
        CASES,
        lambda case: f"fit {case[0]} {case[1] or 1:g}",
        lambda case: 1,
        partial(_scored, config=config, epochs=epochs, data=data_of_config(config), report=report),
    )


def _scored(
    case: tuple[str, float | None, str],
    config: str,
    epochs: int,
    data: PairDataModule,
    report: str | None,
) -> Iterator[dict[str, Any]]:
    name, share, saliency = case
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "fit", "-c", config, "--trainer.default_root_dir", folder,
            "--trainer.max_epochs", str(epochs), "--model.network.saliency", saliency,
            "--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false",
        ]  # fmt: skip
        words += ["--model.network.tokens", str(share) if share else "null"]
        start = perf_counter()
        try:
            main(words)
        except InputError as error:
            if "tokens" not in str(error) or share is None:
                raise
            notice(logger, f"No fit with the share {share:g}: {error}")
            return
        minutes = (perf_counter() - start) / 60
        coarse, bundle = data.coarse_dataset("test", context=True), load(Path(folder, "bundle"))
        fine = predict(coarse, bundle, progress=False)
        if report is not None and share is not None:
            Path(report).mkdir(parents=True, exist_ok=True)
            draw_leaves(coarse, bundle, Path(report, f"leaves_{name}_{share:g}.png"), share)
    found = evaluate(fine, data.fine_dataset("test"), progress=False)
    target = data.pairing.targets[0]
    scores = found.scores[target]["orbitlite"]
    yield {
        "part": "leaf_budgets",
        "config": config,
        "epochs": epochs,
        "variant": name,
        "token_share": share or 1.0,
        "minutes": minutes,
        "rmse": scores["rmse"],
        "p99_ratio": scores["p99_ratio"],
        "spectral_distance": scores["spectrum_distance"],
    }
