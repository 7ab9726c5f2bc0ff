"""Names of parts."""

import pytest

from orbitlite.errors import InputError
from orbitlite.registry import Registry


@pytest.fixture
def shapes():
    found = Registry("shape")

    @found.register("square")
    class Square:
        def __init__(self, side, *, colour="red"):
            self.side, self.colour = side, colour

    found.register("circle")(lambda side: side)
    return found


def test_names(shapes):
    assert list(shapes) == ["square", "circle"]
    assert len(shapes) == 2
    assert "square" in shapes
    assert [] not in shapes
    assert shapes["circle"](3) == 3
    assert shapes.get("circle") is shapes["circle"]


def test_unknown_names(shapes):
    with pytest.raises(InputError, match="shape: expected square or circle, found 'squares'; did "
                       "you mean 'square'"):  # fmt: skip
        shapes["squares"]
    with pytest.raises(InputError, match=r"expected square or circle, found \['square'\]; "):
        shapes[["square"]]
    with pytest.raises(InputError, match="expected nothing, found 'x'"):
        Registry("shape")["x"]
    with pytest.raises(InputError) as told:
        shapes["x" * 10_000]
    assert len(str(told.value)) < 400


def test_a_name_is_given_once(shapes):
    with pytest.raises(InputError, match="shape: the name 'square' is taken"):
        shapes.register("square")(dict)
    assert shapes["square"] is not dict
    for name in ("", " ", "a\nb", None):
        with pytest.raises(InputError, match="expected a name"):
            shapes.register(name)


def test_options_are_keywords(shapes):
    assert shapes.built("square", {"colour": "blue"}, 2).colour == "blue"
    assert shapes.built("square", None, 2).side == 2
    for option in ("side", "color", "self"):
        with pytest.raises(InputError, match=f"square takes colour, found '{option}'"):
            shapes.built("square", {option: 1}, 2)
    with pytest.raises(InputError, match="circle takes none, found 'colour'"):
        shapes.built("circle", {"colour": 1}, 2)
