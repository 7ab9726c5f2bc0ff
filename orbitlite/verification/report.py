"""The report of an evaluation: JSON, text and pictures."""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orbitlite.errors import InputError
from orbitlite.files import holder, replacing
from orbitlite.notice import notice
from orbitlite.verification.table import ScoreTable

if TYPE_CHECKING:
    from orbitlite.verification.results import Results

logger = logging.getLogger(__name__)


def write_json(evaluation: Results, path: Path) -> None:
    """Write `{variable: {system: {score: value}}}`; values that are not finite become null.

    Parameters
    ----------
    evaluation : Results
    path : Path
    """
    with writing(path) as temporary:
        temporary.write_text(_json(evaluation), encoding="utf-8")


def _json(evaluation: Results) -> str:
    plain = {
        variable: {
            system: {name: value if math.isfinite(value) else None for name, value in row.items()}
            for system, row in systems.items()
        }
        for variable, systems in evaluation.scores.items()
    }
    return json.dumps(plain, indent=2, allow_nan=False) + "\n"


def check_places(scores: str | None, folder: str | None, sources: Iterable[str]) -> None:
    """Find out early whether scores and report would be written onto what they are made of.

    Parameters
    ----------
    scores : str or None
        File for the scores.
    folder : str or None
        Folder of the report; sources may lie in it.
    sources : iterable of str
        Local files and stores.

    Raises
    ------
    InputError
        If so, or a file is where the folder should be, or a folder where the file should.
    """
    if scores and Path(scores).is_dir():
        raise InputError(f"{scores} is a folder: expected the name of a file for the scores.")
    if folder and Path(folder).exists() and not Path(folder).is_dir():
        raise InputError(f"{folder} is a file: expected a folder for the report.")
    sources = [*sources]
    for place in (text for text in (scores, folder) if text):
        if (other := holder(place, sources)) is not None:
            raise InputError(f"{place} would be written into {other}, which is an input.")


def write(evaluation: Results, folder: Path) -> list[Path]:
    """Write `scores.json`, `scores.txt` and the pictures, all or none; return their paths.

    Parameters
    ----------
    evaluation : Results
    folder : Path
        Made if it does not exist.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    from orbitlite.verification import plots

    contents = {
        "scores.json": _json(evaluation).encode(),
        "scores.txt": f"{ScoreTable(evaluation)}\n".encode(),
    }
    for name, figure in plots.figures(evaluation):
        picture = io.BytesIO()
        figure.savefig(picture, dpi=150, format="png")
        contents[f"{name}.png"] = picture.getvalue()
    paths = [folder / name for name in contents]
    with ExitStack() as whole:
        for path, content in zip(paths, contents.values(), strict=True):
            whole.enter_context(writing(path)).write_bytes(content)
    notice(logger, f"Wrote {len(paths)} files to {folder}")
    others = sorted(path.name for path in folder.glob("*.png") if path not in paths)
    if others:
        rest = f" and {len(others) - 3} more" if len(others) > 3 else ""
        notice(logger, f"Not of this evaluation: {', '.join(others[:3])}{rest} in {folder}")
    return paths


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield where to write a file, and say in plain words what stops it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); choose another folder, or "
            "make room."
        ) from error
