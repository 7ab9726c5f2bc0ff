"""Run a function on several processes that speak gloo."""

import pytest

from orbitlite.parallel.launch import run_ranks


@pytest.fixture
def ranks():
    """Return a function: run `function(rank, size, *arguments)` on each rank, list the results."""
    return run_ranks
