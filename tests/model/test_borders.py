"""What lies beyond the edges of a grid."""

import pytest
import torch

from orbitlite.model.borders import Borders


@pytest.mark.parametrize(
    ("lats", "lons", "expected"),
    [
        ((90, -90), (0, 360), (True, True, True)),
        ((90, 40), (-180, 180), (True, True, False)),
        ((60, -90), (10, 369), (False, False, True)),
        ((89.9, -89.9), (10, 50), (False, False, False)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_known_answers(lats, lons, expected, dtype):
    edges = (torch.linspace(*ends, 8, dtype=dtype)[None] for ends in (lats, lons))
    assert tuple(bool(flag) for flag in Borders.of(*edges)) == expected
