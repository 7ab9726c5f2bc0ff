"""The report of an evaluation: JSON, text and pictures."""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orbitlite.errors import InputError
from orbitlite.notice import notice
from orbitlite.verification.table import ScoreTable

if TYPE_CHECKING:
    from orbitlite.verification.results import Evaluation

logger = logging.getLogger(__name__)


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Write `{variable: {system: {score: value}}}`; values that are not finite become null.

    Parameters
    ----------
    evaluation : Evaluation
    path : Path
    """
    plain = {
        variable: {
            system: {name: value if math.isfinite(value) else None for name, value in row.items()}
            for system, row in systems.items()
        }
        for variable, systems in evaluation.scores.items()
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `scores.json`, `scores.txt` and the pictures; return their paths.

    Parameters
    ----------
    evaluation : Evaluation
    folder : Path
        Made if it does not exist.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    from orbitlite.verification import plots

    scores, text = folder / "scores.json", folder / "scores.txt"
    write_json(evaluation, scores)
    with replacing(text) as temporary:
        temporary.write_text(f"{ScoreTable(evaluation)}\n", encoding="utf-8")
    paths = [scores, text]
    for name, figure in plots.figures(evaluation):
        path = folder / f"{name}.png"
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150, format="png")
        paths.append(path)
    notice(logger, f"Wrote {len(paths)} files to {folder}")
    return paths


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to it at the end, removed on failure.

    Raises
    ------
    InputError
        If the folder cannot be made or written to, or the disk is full.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); choose another folder, or "
            f"make room."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
