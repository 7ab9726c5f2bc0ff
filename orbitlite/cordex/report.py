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

_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "crps": "CRPS (fair)", "spread_skill": "Spread over error of the mean",
        "rmse_unlimited": "RMSE, mean of unlimited members",
        "rmse": "RMSE of the mean", "member_rmse": "RMSE of members", "ralsd": "RALSD, dB²",
        "wasserstein": "Wasserstein distance of cells", "mean_bias": "Mean, bias",
        "mean_abs_bias": "Mean, |bias|", "interannual_abs_bias": "Interannual variability, |bias|",
        "cell_p98_abs_bias": "Percentile 98, |bias|",
        "cell_p99.9_abs_bias": "Percentile 99.9, |bias|",
        "lag1_abs_bias": "Lag-1 autocorrelation, |bias|", "sdii_abs_bias": "SDII, |bias|",
        "rx1day_abs_bias": "Rx1day, |bias|", "cdd_abs_bias": "CDD, |bias|, days",
        "cwd_abs_bias": "CWD, |bias|, days", "txx_abs_bias": "TXx, |bias|",
        "txn_abs_bias": "TXn, |bias|", "su_abs_bias": "Days above 300 K, |bias|",
        "pr_tasmax_correlation_abs_bias": "Correlation of both, |bias|",
        "mean_signal_abs_bias": "Change of the mean, |bias|",
        "cell_p98_signal_abs_bias": "Change of percentile 98, |bias|",
    }
)  # fmt: skip
_HEADINGS = {"pr": "pr, mm/day", "tasmax": "tasmax, K"}


def tables(rows: Sequence[Row]) -> Iterator[PlainTable]:
    """Yield a table for each file of predictions.

    |bias| is the mean over the cells of the absolute bias; a change is that since the historical
    period.
    """
    for row in rows:
        table = PlainTable(title=_title(row))
        table.add_column("score")
        for heading in _HEADINGS.values():
            table.add_column(heading, justify="right")
        for key, label in _LABELS.items():
            found = [row.scores[name].get(key) for name in _HEADINGS]
            if any(value is not None for value in found):
                table.add_row(label, *map(_number, found))
        yield table


def result(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what is written as JSON: numbers that are none are null."""
    return {
        "benchmark": "CORDEX ML-Bench", "command": "orbitlite cordex-bench evaluate",
        "versions": {"orbitlite": version("orbitlite")},
        "rows": [_finite(asdict(row)) for row in rows],
    }  # fmt: skip


def _title(row: Row) -> str:
    period = row.period.replace("_", " ")
    return f"{row.domain} {row.experiment}: {period} {row.years}, {row.condition} {row.gcm}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
