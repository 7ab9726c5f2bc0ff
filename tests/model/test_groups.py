"""Groups of channels: balanced or named, each channel in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.groups import channel_groups

ERA5 = [f"{name}_{level}" for name in ("u", "v", "t") for level in (850, 500, 250)]
ERA5 += ["2m_temperature", "orography", "total_precipitation_24hr"]


def test_levels_of_a_variable_stay_together():
    groups = channel_groups(ERA5, 4)
    assert groups == ((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11))


@given(st.data())
def test_every_channel_is_in_one_group_and_groups_are_balanced(data):
    sizes = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=12))
    names = [f"v{v}x_{level}" for v, size in enumerate(sizes) for level in range(size)]
    count = data.draw(st.integers(1, len(names)))
    groups = channel_groups(names, count)
    assert len(groups) == count
    assert sorted(c for group in groups for c in group) == list(range(len(names)))
    share = -(-len(names) // count)
    assert max(map(len, groups)) < 2 * share + 1
    assert min(map(len, groups)) >= 1


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (0, "expected 1 to 3 groups"),
        (4, "expected 1 to 3 groups"),
        ([["a", "b"], ["b", "c"]], "'b' is in group 0 and in group 1"),
        ([["a", "bb"], ["c"]], "'bb' in group 0 is not among the inputs; did you mean 'b'"),
        ([["a"], ["c"]], "b belong to no group"),
        ([["a", "b", "c"], []], "group 1 should be a list"),
        (["a", "b", "c"], "group 0 should be a list"),
    ],
)
def test_bad_groups(groups, expected):
    with pytest.raises(InputError, match=expected):
        DownscalerConfig(inputs=["a", "b", "c"], targets=["a"], channel_groups=groups)


def test_groups_survive_the_plain_form():
    config = DownscalerConfig(inputs=["a", "b"], targets=["a"], channel_groups=[["b"], ["a"]])
    assert config.to_dict()["channel_groups"] == [["b"], ["a"]]
    assert DownscalerConfig.from_dict(config.to_dict()) == config
    assert config.groups == ((1,), (0,))
