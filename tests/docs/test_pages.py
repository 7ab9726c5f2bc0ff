"""What the pages show is run, and what they name is there."""

import ast
import re
import textwrap
import tomllib
from inspect import signature
from pathlib import Path

import pytest
import yaml

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.variables import resolve, table
from orbitlite.verification.catalogue import catalogue

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / ".github").glob("*.md"))]
HOW_TO = [page for page in PAGES if page.name.startswith("add_")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def blocks(page, language, indent=""):
    found = re.findall(rf"^{indent}```{language}\n(.*?)^{indent}```", page.read_text(), re.M | re.S)
    return [textwrap.dedent(block) for block in found]


def page(name):
    return next(path for path in PAGES if path.name == name)


def run(path):
    """Run the code of a page from its top; return what it defines."""
    names = {"_POSITIVE": table._POSITIVE}
    for block in blocks(path, "python"):
        exec(compile(block, path.name, "exec"), names)
    return names


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_files_and_links_are_there(path):
    text = path.read_text()
    for name in re.findall(
        r"`((?:orbitlite|tests|tools|configs|docs|\.github|\.ci)/[^` ]*)`", text
    ):
        assert (ROOT / name).exists(), name
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", HOW_TO, ids=lambda path: path.stem)
def test_code_runs(path, tmp_path, registries):
    names = run(path)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests or path.stem == "add_variable"
    for test in tests:
        test(*[tmp_path] * len(signature(test).parameters))
    for block in blocks(path, "python", indent="   "):
        ast.parse(block)


def test_a_variable_in_a_config():
    [block] = blocks(page("add_variable.md"), "yaml")
    config = DownscalerConfig(**yaml.safe_load(block)["model"]["network"])
    assert config.log1p == ("total_precipitation_24hr", "glacier_runoff")
    assert config.variables["glacier_runoff"]["limits"] == [0.0, 5000.0]


def test_a_row_of_the_table(monkeypatch):
    row = run(page("add_variable.md"))["row"]
    assert [resolve(word) for word in (row[0], *row[1].split())] == [None, None]
    monkeypatch.setattr(table, "_GROUPS", (("surface", {}, (row,)),))
    [variable] = table._build().values()
    assert (variable.name, variable.units, variable.limits) == (row[0], row[3], (-1e-4, 0.1))


def test_a_score_is_in_the_catalogue(registries):
    run(page("add_score.md"))
    rows = catalogue()
    assert rows["largest_error"].distance(2.0) > rows["largest_error"].distance(1.0)
    assert list(rows).index("largest_error") < list(rows).index("spectrum_distance")


def test_a_trunk_in_a_config(registries):
    local = run(page("add_trunk.md"))["Local"]
    [block] = blocks(page("add_trunk.md"), "yaml")
    model = Downscaler(DownscalerConfig(**yaml.safe_load(block)["model"]["network"]))
    assert isinstance(model.trunk, local)
    assert model.trunk.around.kernel_size == (5, 5)


def test_contributors_are_told_of_every_marker():
    markers = PROJECT["tool"]["pytest"]["ini_options"]["markers"]
    known = [marker.partition(":")[0] for marker in markers]
    told = re.findall(r"^\| `(\w+)` \|", page("CONTRIBUTING.md").read_text(), flags=re.M)
    assert told == known


def test_contributors_are_told_of_every_linter():
    linters = (ROOT / ".ci" / "run").read_text().split('echo "+ linters"\n')[1].split("\n")
    told = " && ".join(filter(None, linters))
    for name in ("CONTRIBUTING.md", "pull_request_template.md"):
        assert told in page(name).read_text()


def test_the_workflow_runs_what_contributors_run():
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text())
    [job] = flow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    [python] = [step["with"]["python-version"] for step in job["steps"] if "with" in step]
    assert PROJECT["project"]["requires-python"] == f">={python}"


@pytest.mark.parametrize("name", ["bug.yml", "feature.yml"])
def test_forms_for_issues(name):
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text())
    assert set(form) == {"name", "description", "body"}
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in fields}) == len(fields)
    assert all(part["attributes"]["label"] for part in fields)


def test_versions_to_be_set_for_a_release_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["project"]["version"]
