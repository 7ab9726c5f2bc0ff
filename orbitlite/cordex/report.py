"""Report: the scores as tables, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from orbitlite.cordex.evaluation import Row
from orbitlite.tables import PlainTable

_COLUMNS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "pr": {
            "crps": "CRPS", "rmse": "RMSE", "spread_skill": "spread", "ralsd": "RALSD",
            "wasserstein": "W1", "sdii_abs_bias": "SDII", "rx1day_abs_bias": "Rx1day",
            "cell_p98_abs_bias": "P98", "cdd_abs_bias": "CDD", "cwd_abs_bias": "CWD",
            "lag1_abs_bias": "lag-1", "pr_tasmax_correlation_abs_bias": "P-T",
            "mean_signal_abs_bias": "change",
        },
        "tasmax": {
            "crps": "CRPS", "rmse": "RMSE", "spread_skill": "spread", "ralsd": "RALSD",
            "wasserstein": "W1", "mean_abs_bias": "mean", "txx_abs_bias": "TXx",
            "txn_abs_bias": "TXn", "cell_p98_abs_bias": "P98", "su_abs_bias": "SU",
            "lag1_abs_bias": "lag-1", "mean_signal_abs_bias": "change",
        },
    }
)  # fmt: skip
_TITLES = {"pr": "Precipitation, mm/day", "tasmax": "Maximum temperature, K"}
_CAPTION = (
    "RMSE of the ensemble's mean; spread over its error; RALSD in dB². Indices: mean over the "
    "cells of the absolute bias; change: that of the mean since the historical period."
)


def tables(rows: Sequence[Row]) -> Iterator[PlainTable]:
    """Yield a table for each variable: a row per file of predictions."""
    for name, columns in _COLUMNS.items():
        table = PlainTable(title=_TITLES[name], caption=_CAPTION)
        table.add_column("predictions")
        used = [key for key in columns if any(key in row.scores[name] for row in rows)]
        for key in used:
            table.add_column(columns[key], justify="right")
        for row in rows:
            table.add_row(_label(row), *(_number(row.scores[name].get(key)) for key in used))
        yield table


def result(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what is written as JSON: numbers that are none are null."""
    return {
        "benchmark": "CORDEX ML-Bench", "command": "orbitlite cordex-bench evaluate",
        "versions": {"orbitlite": version("orbitlite")},
        "rows": [_finite(asdict(row)) for row in rows],
    }  # fmt: skip


def _label(row: Row) -> str:
    parts = row.domain, row.experiment, row.period, row.condition, row.gcm, row.years
    return " ".join(parts)


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
