"""The table of scores: text wherever it is printed, colours where rich prints it."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from orbitlite.verification.catalogue import best_of, catalogue, label

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from orbitlite.tables import PlainTable
    from orbitlite.verification.results import Results

_TEXT_WIDTH = 140


class ScoreTable:
    """The scores of an evaluation: a row per score, a column per system, `*` at the best value.

    `print(table)` prints it, as does a rich console and a notebook; `str(table)` is the text.

    Parameters
    ----------
    evaluation : Results
    """

    def __init__(self, evaluation: Results) -> None:
        self._evaluation = evaluation

    def __rich__(self) -> PlainTable:
        """Return the table that rich draws."""
        return _table(self._evaluation)

    def __str__(self) -> str:
        """Return the table as text without colours, at most 140 characters wide."""
        console = _console()
        with console.capture() as captured:
            console.print(self)
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        console = _console(record=True)
        console.print(self)
        return console.export_html(
            inline_styles=True, code_format='<pre style="line-height: 1.2">{code}</pre>'
        )


def _console(record: bool = False) -> Console:
    from rich.console import Console

    return Console(file=io.StringIO(), width=_TEXT_WIDTH, record=record)


def _table(evaluation: Results) -> PlainTable:
    from orbitlite.tables import PlainTable, shown

    results = evaluation.results.values()
    systems = list(dict.fromkeys(name for result in results for name in result.scores))
    table = PlainTable(title="Scores (* best of the row)", caption=_caption(evaluation))
    table.caption_justify = "left"
    table.add_column("Score")
    for system in systems:
        table.add_column(system.replace("_", " "), justify="right")
    for result in results:
        table.add_section()
        table.add_row(shown(result.quantity.long_name, "bold"))
        rows = result.scores.values()
        present = [name for name in catalogue() if any(name in row for row in rows)]
        for name in present:
            values = {system: row[name] for system, row in result.scores.items() if name in row}
            best = best_of(name, values)
            cells = [_cell(name, values.get(system), system in best) for system in systems]
            table.add_row(label(name, result.quantity), *cells)
    return table


def _cell(name: str, value: float | None, best: bool) -> str | Text:
    from orbitlite.tables import shown

    if value is None or math.isnan(value):
        return "-  "
    if name in ("cells", "skipped_cells"):
        return f"{value:,.0f}  "
    text = f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.3g}"
    return shown(f"{text} *", "bold green") if best else f"{text}  "


def _caption(evaluation: Results) -> str:
    lines = []
    for name, result in evaluation.results.items():
        prefix = f"{name}: " if len(evaluation.results) > 1 else ""
        lines += [prefix + note for note in result.notes]
    lines.append("Area-weighted. RMSE: root of the mean over all times and cells.")
    lines.append("Ratios are best at 1; SSIM and PSNR use the range of the truth.")
    return "\n".join(lines)
