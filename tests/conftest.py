"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("ORBITLITE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def real_data():
    """Return a function from a name like `iberia/fine_eobs.nc` to its path; skips where absent."""

    def locate(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"real data set {name} not found under {DATA} (set ORBITLITE_TEST_DATA)")
        return path

    return locate
