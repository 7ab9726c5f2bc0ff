"""Pictures of benchmark results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orbitlite.benchmark.context_picture import draw_context
from orbitlite.benchmark.ensemble_picture import draw_ensembles
from orbitlite.benchmark.skill_picture import draw_skill

Row = Mapping[str, Any]


def draw(rows: Sequence[Row], folder: str | Path) -> list[Path]:
    """Draw the result of a benchmark, a picture for each part that has one.

    Parameters
    ----------
    rows : sequence of mapping
        Those of the benchmark's JSON form.
    folder : str or Path
        Made if it is not there.

    Returns
    -------
    list of Path
        PNG files.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    found = []
    for part, picture in _PICTURES.items():
        one = [row for row in rows if row["part"] == part]
        if part == "network":  # over the budget: ours, where it was varied
            one = [row for row in one if row["variant"] == "ours"]
            one = one if len({row["token_share"] for row in one}) > 1 else []
        if one:
            figure = Figure(figsize=(10, 4), layout="constrained")
            picture(figure, one)
            found.append(Path(folder, f"{part}.png"))
            figure.savefig(found[-1], dpi=120)
    return found


def _aggregation(figure: Figure, rows: Sequence[Row]) -> None:
    figure.set_size_inches(10, 7)
    modes = sorted({row["mode"] for row in rows})
    axes = figure.subplots(2, len(modes), squeeze=False, sharex=True)
    keys = (("seconds", "seconds per sample"), ("peak_mib", "peak memory per sample (MiB)"))
    for i, (key, label) in enumerate(keys):
        for j, mode in enumerate(modes):
            part = [row for row in rows if row["mode"] == mode]
            _lines(axes[i][j], part, key)
            axes[i][j].set(xscale="log", yscale="log", ylabel=label, title=mode if not i else "")
            axes[i][j].grid(alpha=0.3, which="both")
            if i:
                axes[i][j].set_xlabel("channels")
    axes[0][0].legend()
    figure.suptitle("Channels of a patch to one token: absorbed (ours) and published attention")


def _lines(axes: Axes, rows: Sequence[Row], key: str) -> None:
    for number, dim in enumerate(sorted({row["embed_dim"] for row in rows})):
        for variant, style in (("published", "s--"), ("ours", "o-")):
            points = [r for r in rows if r["embed_dim"] == dim and r["variant"] == variant]
            counts = [row["channels"] for row in points]
            values = [row[key] / row["batch"] for row in points]
            axes.plot(counts, values, style, color=f"C{number}", label=f"{variant}, D {dim}")


def _ranks(figure: Figure, rows: Sequence[Row]) -> None:
    held, crossing = figure.subplots(1, 2)
    sizes = [str(row["world_size"]) for row in rows]
    held.bar(sizes, [row["peak_mib"] for row in rows])
    held.set(xlabel="ranks", ylabel="MiB", title="What belongs to channels, on one rank")
    several = [row for row in rows if row["world_size"] > 1]
    places = range(len(several))
    kinds = (("bytes_per_position", "group tokens"), ("raw_bytes_per_position", "raw tokens"))
    for shift, (key, label) in zip((-0.2, 0.2), kinds, strict=True):
        values = [row[key] / 1024 for row in several]
        crossing.bar([place + shift for place in places], values, 0.4, label=label)
    crossing.set_xticks(list(places), [str(row["world_size"]) for row in several])
    crossing.set(
        xlabel="ranks", ylabel="KiB per position", yscale="log", title="What a rank receives"
    )
    crossing.legend()


def _budgets(figure: Figure, rows: Sequence[Row]) -> None:
    keys = (("time_ratio", "times faster"), ("memory_ratio", "times less memory"))
    for axes, (key, label) in zip(figure.subplots(1, 2), keys, strict=True):
        for number, grid in enumerate(sorted({(row["height"], row["width"]) for row in rows})):
            for mode, style in (("forward", "o-"), ("forward+backward", "s--")):
                one = [r for r in rows if (r["height"], r["width"]) == grid and r["mode"] == mode]
                if one:
                    shares = [row["token_share"] for row in one]
                    name = f"{grid[0]}x{grid[1]} {mode}"
                    axes.plot(
                        shares, [row[key] for row in one], style, color=f"C{number}", label=name
                    )
        axes.set(xscale="log", yscale="log", xlabel="leaves over patches", ylabel=label)
        axes.axhline(1, color="0.6", linewidth=1)
        axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    figure.suptitle("The network against the published one")


def _leaf_budgets(figure: Figure, rows: Sequence[Row]) -> None:
    figure.set_size_inches(11, 3.5)
    keys = (
        ("rmse", "RMSE"), ("p99_ratio", "99th percentile over that of the truth"),
        ("spectral_distance", "distance of the spectra (dB)"),
    )  # fmt: skip
    whole = [row for row in rows if row["token_share"] == 1]
    for axes, (key, label) in zip(figure.subplots(1, 3), keys, strict=True):
        for name in ("gradient", "uniform", "variance", "learned"):
            one = [*whole, *(row for row in rows if row["variant"] == name)]
            style = "o-" if len(one) > 2 else "D"
            chosen = one if len(one) > 2 else one[1:]
            axes.plot(
                [r["token_share"] for r in chosen], [r[key] for r in chosen], style, label=name
            )
        axes.set(xscale="log", xlabel="leaves over patches", ylabel=label)
        axes.grid(alpha=0.3)
    axes.legend()


def _cost(figure: Figure, rows: Sequence[Row]) -> None:
    keys = (("seconds_per_cell", "seconds per fine cell"), ("peak_mib", "peak memory (MiB)"))
    for axes, (key, label) in zip(figure.subplots(1, 2), keys, strict=True):
        for tiled, name in ((True, "tiles"), (False, "whole grid")):
            one = [row for row in rows if row["tiled"] is tiled]
            cells = [row["height"] * row["width"] for row in one]
            axes.plot(cells, [row[key] for row in one], "o-", label=name)
        axes.set(xscale="log", yscale="log", xlabel="coarse cells", ylabel=label)
        axes.grid(alpha=0.3, which="both")
    axes.legend()


def _seams(figure: Figure, rows: Sequence[Row]) -> None:
    keys = (
        ("seam_error", "mean difference from the whole / std"),
        ("jump_ratio", "jump across seams / other patch edges"),
    )
    for axes, (key, label) in zip(figure.subplots(1, 2), keys, strict=True):
        axes.plot([row["halo"] for row in rows], [row[key] for row in rows], "o-")
        axes.set(xlabel="halo (coarse cells)", ylabel=label)
        axes.grid(alpha=0.3)


def _scaling(figure: Figure, rows: Sequence[Row]) -> None:
    rate, efficiency = figure.subplots(1, 2)
    worlds = sorted({row["world_size"] for row in rows})
    base = [row for row in rows if row["world_size"] == worlds[0]]
    for axis in ("data", "tensor", "sequence", "several"):
        one = base + [row for row in rows[len(base) :] if _axis(row) == axis]
        if len(one) > len(base):
            style = "D" if axis == "several" else "o-"  # of these there is more than one layout
            sizes = [row["world_size"] for row in one]
            rate.plot(sizes, [row["samples_per_second"] for row in one], style, label=axis)
            efficiency.plot(sizes, [row["efficiency"] for row in one], style, label=axis)
    limits = {row["world_size"]: row["core_limit"] for row in rows}
    efficiency.plot(worlds, [limits[n] for n in worlds], "k--", label="what the cores allow")
    rate.set(xlabel="processes", ylabel="samples per second")
    efficiency.set(xlabel="processes", ylabel="efficiency", ylim=(0, None))
    for axes in (rate, efficiency):
        axes.set_xticks(worlds)
        axes.grid(alpha=0.3)
    efficiency.legend()
    figure.suptitle(f"{rows[0]['part'].capitalize()} scaling")


def _axis(row: Row) -> str:
    """Return the one axis that a row's processes lie on, or `several`."""
    used = [axis for axis in ("data", "tensor", "sequence") if row[axis] > 1]
    return used[0] if len(used) == 1 else "several"


_PICTURES: dict[str, Callable[[Figure, Sequence[Row]], None]] = {
    "aggregation": _aggregation,
    "ranks": _ranks,
    "network": _budgets,
    "leaf_budgets": _leaf_budgets,
    "skill": draw_skill,
    "ensembles": draw_ensembles,
    "context": draw_context,
    "cost": _cost,
    "seams": _seams,
    "strong": _scaling,
    "weak": _scaling,
}
