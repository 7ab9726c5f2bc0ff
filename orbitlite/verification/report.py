"""The report of an evaluation: table, JSON and pictures."""

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
from orbitlite.verification.catalogue import SCORES, best_of

if TYPE_CHECKING:
    from rich.table import Table

    from orbitlite.verification.results import Evaluation

logger = logging.getLogger(__name__)

_TEXT_WIDTH = 140


def table(evaluation: Evaluation) -> Table:
    """Return the scores as a table: a row per score, a column per system, `*` at the best value.

    Parameters
    ----------
    evaluation : Evaluation
    """
    from rich.table import Table

    results = evaluation.results.values()
    systems = list(dict.fromkeys(name for result in results for name in result.scores))
    shown = Table(title="Scores (* best of the row)", caption=_caption(evaluation))
    shown.caption_justify = "left"
    shown.add_column("Score")
    for system in systems:
        shown.add_column(system.replace("_", " "), justify="right")
    for result in results:
        shown.add_section()
        shown.add_row(f"[bold]{result.quantity.long_name}[/bold]")
        present = [name for name in SCORES if any(name in row for row in result.scores.values())]
        for name in present:
            values = {system: row[name] for system, row in result.scores.items() if name in row}
            best = best_of(name, values)
            cells = [_cell(name, values.get(system), system in best) for system in systems]
            shown.add_row(_label(name, result.quantity.unit), *cells)
    return shown


def _label(name: str, unit: str) -> str:
    score = SCORES[name]
    unit = unit if score.unit == "data" else score.unit
    return f"{score.label} ({unit})" if unit and unit != "1" else score.label


def _cell(name: str, value: float | None, best: bool) -> str:
    if value is None or math.isnan(value):
        return "-  "
    if name in ("cells", "skipped_cells"):
        return f"{value:,.0f}  "
    text = f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.3g}"
    return f"[bold green]{text} *[/bold green]" if best else f"{text}  "


def _caption(evaluation: Evaluation) -> str:
    lines = []
    for name, result in evaluation.results.items():
        prefix = f"{name}: " if len(evaluation.results) > 1 else ""
        lines += [prefix + note for note in result.notes]
    lines.append("Area-weighted. RMSE: root of the mean over all days and cells.")
    lines.append("Ratios are best at 1; SSIM and PSNR use the range of the truth.")
    return "\n".join(lines)


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
    from rich.console import Console

    from orbitlite.verification import plots

    scores, text = folder / "scores.json", folder / "scores.txt"
    write_json(evaluation, scores)
    with replacing(text) as temporary, temporary.open("w", encoding="utf-8") as stream:
        Console(file=stream, width=_TEXT_WIDTH).print(table(evaluation))
    paths = [scores, text]
    for name, figure in plots.figures(evaluation):
        path = folder / f"{name}.png"
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150, format="png")
        paths.append(path)
    logger.info("Wrote %d files to %s", len(paths), folder)
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
