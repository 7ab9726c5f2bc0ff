"""The table of scores: text wherever it is printed, colours where rich prints it."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from orbitlite.verification.catalogue import best_of, catalogue, label
from orbitlite.verification.results import OURS

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

    from orbitlite.tables import PlainTable
    from orbitlite.verification.results import Result, Results

    Rows = list[tuple[str, dict[str, str | Text]]]

_TEXT_WIDTH = 140
_LABEL_WIDTH = 23


class ScoreTable:
    """The scores of an evaluation: a row per score, a column per system, `*` at the best value.

    `print(table)` prints it, as does a rich console and a notebook; `str(table)` is the text.
    Systems that the width has no room for have a table of their own below.

    Parameters
    ----------
    evaluation : Results
    """

    def __init__(self, evaluation: Results) -> None:
        self._evaluation = evaluation

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[PlainTable | Text]:
        """Yield what rich draws, within its width."""
        yield from _tables(self._evaluation, options.max_width)
        yield _lines(_notes(self._evaluation), "table.caption")

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


def _tables(evaluation: Results, width: int) -> Iterator[PlainTable]:
    from rich.box import SIMPLE_HEAD

    from orbitlite.tables import PlainTable, shown

    results = evaluation.results.values()
    systems = list(dict.fromkeys(name for result in results for name in result.scores))
    sections = [(result.quantity.long_name, _rows(result, systems)) for result in results]
    cells = [row for _, rows in sections for _, row in rows]
    widths = {
        name: max(len(text) for text in (*name.split("_"), *(row[name] for row in cells)))
        for name in systems
    }
    groups = _groups(widths, width)
    for group in groups:
        table = PlainTable(
            title="Scores (* best of the row)" if group is groups[0] else None,
            title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False,
        )  # fmt: skip
        table.add_column("Score")
        for system in group:
            table.add_column(_lines(system.split("_")), justify="right", no_wrap=True)
        room = max(width - sum(widths[name] + 1 for name in group), _LABEL_WIDTH)
        for name, rows in sections:
            table.add_section()
            table.add_row(shown(name, "bold"))
            for text, row in rows:
                wrapped = textwrap.wrap(text, room, subsequent_indent="  ")
                table.add_row(_lines(wrapped), *(row[system] for system in group))
        yield table


def _groups(widths: Mapping[str, int], width: int) -> list[list[str]]:
    """Share the systems among tables of a width, as many as fit beside the labels in each."""
    groups, used = list[list[str]](), width
    for name, own in widths.items():
        if used + own + 1 > width:
            groups.append([])
            used = _LABEL_WIDTH
        groups[-1].append(name)
        used += own + 1
    return groups


def _lines(texts: Iterable[str], style: str = "") -> Text:
    from rich.text import Text

    from orbitlite.tables import shown

    return Text("\n").join(shown(text, style) for text in texts)


def _rows(result: Result, systems: Iterable[str]) -> Rows:
    """Return labels and, of each system, the cell; `*` at the best one."""
    rows: Rows = []
    scores = result.scores.values()
    for name in (name for name in catalogue() if any(name in row for row in scores)):
        values = {system: row[name] for system, row in result.scores.items() if name in row}
        best = best_of(name, values)
        cells = {system: _cell(name, values.get(system), system in best) for system in systems}
        rows.append((label(name, result.quantity), cells))
    return rows


def _cell(name: str, value: float | None, best: bool) -> str | Text:
    from orbitlite.tables import shown

    if value is None or math.isnan(value):
        return "- "
    if name in ("cells", "skipped_cells"):
        return f"{value:,.0f} " if value < 1e7 else f"{value:.4g} "
    text = f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"
    return shown(f"{text}*", "bold green") if best else f"{text} "


def _notes(evaluation: Results) -> list[str]:
    lines = []
    for name, result in evaluation.results.items():
        prefix = f"{name}: " if len(evaluation.results) > 1 else ""
        lines += [prefix + note for note in result.notes]
    if any("cdd_bias" in result.scores[OURS] for result in evaluation.results.values()):
        lines.append("Rx1day, CDD, CWD: of each cell, calendar year and member, then the mean.")
    lines.append("Area-weighted. RMSE: root of the mean over all times and cells.")
    lines.append("Ratios are best at 1; SSIM and PSNR use the range of the truth.")
    return lines
