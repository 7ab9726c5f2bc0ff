"""Joint statistics: of the inputs over all sources, of targets and fine statics over a task's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

from orbitlite.data.assignment import Assignment
from orbitlite.data.pair_source import PairSource, Role
from orbitlite.data.statistics import Moments, Statistics


class JointStatistics:
    """What the values of the training periods are like, each source with its share of the samples.

    Parameters
    ----------
    parts : mapping of str to PairSource
    assignment : Assignment
    shares : callable
        Returns the share of each source; called when it is needed.
    """

    def __init__(
        self,
        parts: Mapping[str, PairSource],
        assignment: Assignment,
        shares: Callable[[], Sequence[float]],
    ) -> None:
        self._parts, self._assignment, self._shares = parts, assignment, shares
        self._known: dict[tuple[Role, str], Statistics] = {}

    @cached_property
    def inputs(self) -> Statistics:
        """Statistics of the inputs; of those that no source has see `Moments.statistics_of`."""
        present = {name for part in self._parts.values() for name in part.inputs}
        return self._moments("inputs", [*self._parts]).statistics_of(present)

    @property
    def to_read(self) -> list[Callable[[], Statistics]]:
        """What reads all that a fit needs, one after the other, in the order of all processes."""
        roles: tuple[Role, ...] = ("targets", "statics")
        tasks = self._assignment.wanted
        own = [partial(self.of, role, task) for task in tasks for role in roles]
        return [lambda: self.inputs, *own]

    def of(self, role: Role, task: str) -> Statistics:
        """Return statistics of what a task makes, or of its fine statics.

        Of the sources with truth; without any, as of absent channels.
        """
        if (role, task) not in self._known:
            names = self._assignment.sources(task)
            true = [name for name in names if self._parts[name].has_truth]
            moments = self._moments(role, true or names)
            self._known[role, task] = moments.statistics() if true else moments.statistics_of(())
        return self._known[role, task]

    def _moments(self, role: Role, names: Sequence[str]) -> Moments:
        parts = [self._parts[name].moments(role) for name in names]
        if len(parts) == 1:
            return parts[0]
        shares = dict(zip(self._parts, self._shares(), strict=True))
        return Moments.together(parts, [shares[name] for name in names])
