"""The metrics of a run as CSV: a curve that only a new fit replaces, and scores beside it."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger, Logger

from orbitlite.errors import InputError
from orbitlite.files import replacing
from orbitlite.notice import warn
from orbitlite.training.lightning_compat import KeptRows, RowsLogger, csv_options

logger = logging.getLogger(__name__)


class MetricsFile(RowsLogger):
    """Lightning's CSV logger, with files that outlive the next run.

    `metrics.csv` holds the curve of a fit: a new one replaces it, one that goes on adds to it, and
    other commands leave it alone; their scores are in `test_metrics.csv` and
    `validate_metrics.csv`, of the last such command.

    Parameters
    ----------
    command : {"fit", "validate", "test", "predict"}
        What runs.
    *arguments, **options
        As Lightning's.
    """

    def __init__(self, command: str, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._command = command

    def make_rows(self) -> Rows:
        """Return the rows that are written."""
        return Rows(self.log_dir, self._command)

    @rank_zero_only
    def begin(self, step: int | None) -> None:
        """Begin a curve, or go on with one.

        Parameters
        ----------
        step : int, optional
            Steps that were done before; rows of later ones are cut. None: a new fit.
        """
        self.experiment.begin(step)


def metrics_files(given: Any, root: str, command: str) -> Any:
    """Return the trainer's loggers with a `MetricsFile` in place of each CSV logger of Lightning's.

    Parameters
    ----------
    given : Logger, list of Logger, bool or None
        As a config states it. None, True: one in the run's folder.
    root : str
        The run's folder.
    command : {"fit", "validate", "test", "predict"}
    """
    if given is None or given is True:
        return MetricsFile(command, root, name="logs", version="")
    if isinstance(given, Iterable):
        return [_metrics_file(one, command) for one in given]
    return _metrics_file(given, command)


def _metrics_file(given: Logger | bool, command: str) -> Logger | bool:
    if type(given) is not CSVLogger or "://" in given.save_dir:
        return given
    return MetricsFile(command, **csv_options(given))


class Rows(KeptRows):
    """Rows of a metrics file: whole on the disk after each one, each step once.

    Parameters
    ----------
    log_dir : str
        Folder.
    command : {"fit", "validate", "test", "predict"}

    Raises
    ------
    InputError
        Of each method, if the file cannot be written.
    """

    def __init__(self, log_dir: str, command: str) -> None:
        super().__init__(log_dir)
        self._fitting = command == "fit"
        name = self.NAME_METRICS_FILE if self._fitting else f"{command}_{self.NAME_METRICS_FILE}"
        self.path = Path(log_dir, name)
        self.metrics_file_path = str(self.path)
        self._begun = False
        self._last: dict[frozenset[str], int] = {}

    def begin(self, step: int | None) -> None:
        """Delete the rows of an earlier fit, or those that are computed again."""
        rows = [] if step is None else self._read()
        kept = [row for row in rows if int(row["step"]) < (step or 0)]
        self._last = {frozenset(row): int(row["step"]) for row in kept}
        self._write(kept)
        self._begun = True

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Write the hyper-parameters of a fit, if a module logs any."""
        if params and self._fitting:
            super().log_hparams(params)

    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        """Record a row, unless it is there already."""
        super().log_metrics(metrics_dict, step)
        row = self.metrics[-1]
        if not self._fitting:  # a test stands at no step
            self.metrics[-1] = {k: v for k, v in row.items() if k not in ("step", "epoch")}
        elif self._last.get(frozenset(row)) == row["step"]:
            self.metrics.pop()
        self._last[frozenset(row)] = int(row["step"])

    def save(self) -> None:
        """Write what was recorded, once it is known what becomes of the rows of before."""
        if not self._fitting and self.metrics:
            self._write(self.metrics)
        if not self.metrics or not self._begun:
            return
        if set().union(*self.metrics) - set(self.metrics_keys) or not self.path.exists():
            self._write(self._read() + self.metrics)
        else:
            self._append(self.metrics)
        self.metrics = []

    def _append(self, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        csv.DictWriter(text, self.metrics_keys, lineterminator="\n").writerows(rows)
        try:
            with self.path.open("a") as file:
                file.write(text.getvalue())
        except OSError as error:
            raise self._refused(error) from error

    def _write(self, rows: list[dict[str, Any]]) -> None:
        """Put a whole file in place of the one there."""
        self.metrics_keys = sorted(set().union(*rows))
        try:
            if not rows:
                self.path.unlink(missing_ok=True)
                return
            with replacing(self.path) as partial, partial.open("w", newline="") as file:
                writer = csv.DictWriter(file, self.metrics_keys, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> InputError:
        return InputError(f"cannot write {self.path}: {error.strerror or error}")

    def _read(self) -> list[dict[str, Any]]:
        """Return the rows of the file; what a kill has left half-written is none."""
        try:
            text = self.path.read_text(errors="replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror or error}") from error
        text = text[: text.rfind("\n") + 1]
        found = csv.DictReader(io.StringIO(text.replace("\0", "")))
        rows, broken = [], 0
        for row in found:
            whole = None not in row and None not in row.values()
            if whole and (row.get("step") or "").isdigit():
                rows.append({name: value for name, value in row.items() if value != ""})
            else:
                broken += 1
        if text.strip() and "step" not in (found.fieldnames or ()):
            broken = max(broken, 1)
        if broken:
            aside = self.path.with_name(f"{self.path.name}.broken")
            aside.write_text(text)
            warn(
                logger,
                f"{self.path}: {broken} rows are no metrics of a step and were left out; the file "
                f"as it was is {aside}.",
            )
        return rows
