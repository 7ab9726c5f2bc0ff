"""Statistics of members, in place of the members."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.suggest import did_you_mean
from orbitlite.variables import cf_attributes

_NUMBER = r"(\d+(?:\.\d+)?)"
_KNOWN = "mean, std, min, max, quantiles in per cent such as q05 and q99.9, p_gt_20 and p_lt_1"


@dataclass(frozen=True)
class Statistic:
    """What is said of the members of a cell.

    Attributes
    ----------
    name : str
        As it was asked for, such as `q95`.
    of : callable
        From members (n, M, ...) to (n, ...).
    title : str
        In words.
    method : str
        For the CF attribute `cell_methods`; empty for a probability, which is no amount.
    spreads : bool
        It needs two members.
    """

    name: str
    of: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    title: str
    method: str = ""
    spreads: bool = False

    @classmethod
    def named(cls, name: str) -> Statistic:
        """Return the statistic of a name.

        Raises
        ------
        InputError
            If there is none.

        Examples
        --------
        >>> Statistic.named("q95").title, Statistic.named("p_gt_20").title
        ('95 % quantile of members', 'probability above 20')
        """
        if name in _PLAIN:
            return _PLAIN[name]
        if (found := re.fullmatch(f"q{_NUMBER}", name)) and float(found[1]) <= 100:
            level = float(found[1])
            return cls(
                name,
                lambda x: np.quantile(x, level / 100, axis=1).astype(np.float32),
                f"{level:g} % quantile of members",
                f"realization: quantile (comment: {level:g} %)",
            )
        if found := re.fullmatch(f"p_(gt|lt)_{_NUMBER}", name):
            above, limit = found[1] == "gt", float(found[2])
            return cls(
                name,
                lambda x: _share(x > limit if above else x < limit, x),
                f"probability {'above' if above else 'below'} {limit:g}",
            )
        raise InputError(
            f"statistics: {name!r} is none{did_you_mean(name, _PLAIN)}; there are {_KNOWN}"
        )

    def attributes(self, channel: str) -> dict[str, str]:
        """Return the CF attributes of the statistic of a channel."""
        found = dict(cf_attributes(channel))
        if self.method:
            methods = [found.get("cell_methods", ""), self.method]
            found["cell_methods"] = " ".join(filter(None, methods))
            found["long_name"] += f", {self.title}"
            return found
        found["long_name"] += f", {self.title} {found['units']}"
        found.pop("standard_name", None)
        found.pop("cell_methods", None)
        return found | {"units": "1"}


def statistics_of(text: str | Sequence[str] | None) -> tuple[Statistic, ...]:
    """Return the statistics of a list, or of a text such as `mean,q95,p_gt_20`.

    Raises
    ------
    InputError
        If one is unknown or stands twice, or there is none.
    """
    if text is None:
        return ()
    listed = text.split(",") if isinstance(text, str) else text
    names = [name.strip() for name in listed if isinstance(name, str)] if _many(listed) else []
    if not names or "" in names or len(names) < len(listed):
        raise InputError(f"statistics: expected names, found {text!r}; there are {_KNOWN}")
    if len(set(names)) < len(names):
        raise InputError(f"statistics: {', '.join(names)} has one of them twice; name each once")
    return tuple(Statistic.named(name) for name in names)


def _many(listed: Any) -> bool:
    return isinstance(listed, Sequence)


def _share(flags: NDArray[np.bool_], members: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the share of the members; missing where they are."""
    found = flags.mean(axis=1, dtype=np.float32)
    return np.where(np.isnan(members).any(axis=1), np.float32(np.nan), found)


_PLAIN = {
    "mean": Statistic("mean", lambda x: x.mean(axis=1), "mean of members", "realization: mean"),
    "std": Statistic(
        "std", lambda x: x.std(axis=1, ddof=1), "standard deviation of members",
        "realization: standard_deviation", spreads=True,
    ),
    "min": Statistic(
        "min", lambda x: x.min(axis=1), "least of members", "realization: minimum"
    ),
    "max": Statistic(
        "max", lambda x: x.max(axis=1), "largest of members", "realization: maximum"
    ),
}  # fmt: skip
