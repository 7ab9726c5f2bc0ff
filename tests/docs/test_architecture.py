"""The page on the architecture is compared with the code, without importing it."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "orbitlite"
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def section(title):
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_column(title):
    """Return what stands in backticks in the first cell of each row of a table."""
    rows = re.findall(r"^\| (`[^|]+) \|", section(title), flags=re.M)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def has(path, name):
    """Tell whether a file defines a name: a function, a class, a method, a constant."""
    body = ast.parse(path.read_text()).body
    for part in name.split("."):
        found = [node for node in body if part in names_of(node)]
        if not found:
            return False
        body = getattr(found[-1], "body", [])
    return True


def names_of(node):
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {getattr(node, "name", None), *(getattr(target, "id", None) for target in targets)}


def hops():
    return re.findall(r"`([\w/]+\.py):([\w.]+)`", PAGE)


def test_every_room_is_listed():
    packages = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.name for path in PACKAGE.glob("*.py")}
    listed = first_column("Rooms")
    assert len(listed) == len(set(listed))
    assert set(listed) == packages | modules


def test_every_hop_exists():
    assert len(hops()) > 100
    absent = [
        f"{path}:{name}"
        for path, name in hops()
        if not (PACKAGE / path).is_file() or not has(PACKAGE / path, name)
    ]
    assert not absent


def test_every_walk_begins_at_its_entrance():
    for title, entrance in (
        ("A prediction", ("accessor.py", "OrbitliteAccessor.predict")),
        ("Inside the network", ("model/downscaler.py", "Downscaler.forward")),
        ("A fit", ("cli.py", "main")),
    ):
        assert re.findall(r"`([\w/]+\.py):([\w.]+)`", section(title))[0] == entrance


def test_layers_are_those_that_are_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [c["layers"] for c in contracts["contracts"]
                if c["type"] == "layers" and "containers" not in c]  # fmt: skip
    expected = [{name.strip().removeprefix("orbitlite.") for name in layer.split("|")}
                for layer in layers]  # fmt: skip
    lines = re.findall(r"^\d+\. (.+)$", section("Imports"), flags=re.M)
    assert [set(re.findall(r"`(\w+)`", line)) for line in lines] == expected


def test_the_legend_has_every_letter_of_a_shape():
    legend = set(first_column("Letters of arrays"))
    used = set()
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "benchmark"):  # has those of what it is compared with
            continue
        for shape in re.findall(r"of shape \(([^)]*)\)", path.read_text()):
            used |= set(re.findall(r"\bf(?=[HW])|\b[A-Za-z]\b", shape))
    assert {"B", "C", "K", "H", "W", "f"} <= used
    assert used <= legend
