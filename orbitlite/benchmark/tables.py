"""Tables of benchmark results on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orbitlite.tables import PlainTable

_HEADERS = {
    "channels": "C", "embed_dim": "D", "batch": "B", "height": "H", "width": "W", "seconds": "s",
    "time_ratio": "ratio", "peak_mib": "MiB", "memory_ratio": "ratio", "world_size": "ranks",
    "bytes_per_position": "bytes/position", "raw_bytes_per_position": "raw tokens",
    "token_share": "N/L", "tokens": "N", "p99_ratio": "p99", "rmse": "RMSE",
    "spectral_distance": "spectra (dB)", "samples_per_second": "samples/s", "tensor": "tens",
    "sequence": "seq", "efficiency": "eff", "core_limit": "limit", "comm_share": "comm",
    "predict_seconds": "predict (s)", "tflops": "TFLOP/s", "mfu": "MFU", "mae": "MAE",
    "budget_seconds": "s", "spectrum_db": "dB", "correlation": "r",
    "crps": "CRPS", "rmse_mean": "RMSE", "spread_skill": "spread", "ralsd": "RALSD",
    "rmse_unlimited": "RMSE, all",
    "wet_ratio": "wet ratio", "seconds_per_member": "s/member",
}  # fmt: skip


def show(
    rows: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str],
    columns: Mapping[str, Sequence[str]],
) -> None:
    """Print a table per part.

    Parameters
    ----------
    rows : sequence of mapping
        Those of a result; `part` says what each is.
    titles, columns : mapping of str
        Of each part, in the order to print.
    """
    from rich.console import Console

    for part, title in titles.items():
        if chosen := [row for row in rows if row["part"] == part]:
            Console().print(_table(title, columns[part], chosen))


def _table(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> PlainTable:
    from orbitlite.tables import PlainTable

    ratios = "ratios: the first variant of a case over this one, above 1 is better"
    found = PlainTable(title=title, caption=ratios if "time_ratio" in columns else None)
    for column in columns:
        words = column in ("variant", "mode", "network")
        header = _HEADERS.get(column, column)
        found.add_column(header, justify="left" if words else "right", no_wrap=True)
    for row in rows:
        found.add_row(*(_text(row.get(column)) for column in columns))
    return found


def _text(value: Any) -> str:
    short = {"forward+backward": "fwd+bwd"}.get(value, value) if isinstance(value, str) else value
    return f"{short:.4g}" if isinstance(short, float) else "" if short is None else str(short)
