"""A test that takes much longer than its marker says fails, and long files come first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = (Path(__file__).parents[1] / "conftest.py").read_text()
QUICK = """
import time
import pytest
from conftest import spent, tier_of

def burn(seconds=0.5):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def test_unmarked():
    burn()

@pytest.mark.slow
def test_slow():
    burn()

@pytest.fixture
def costly():
    burn()

def test_a_fixture_is_not_counted(costly):
    pass

def test_what_counts():
    assert spent((0, 0, 0), (10, 1, 2)) == 3  # on a busy machine most of it was waiting
    assert spent((0, 0, 0), (10, 1, 20)) == 10  # two cores had nothing to do
    assert spent((5, 4, 3), (6, 5, 3)) == 1
    assert tier_of({"gpu"}) < tier_of({"slow"}) < tier_of({"slow", "dist"}) < tier_of({"very_slow"})
"""
LONG = "import pytest\n@pytest.mark.very_slow\ndef test_first():\n    pass\n"


@pytest.mark.parametrize("busy", [False, True])
def test_a_test_that_overruns_fails(tmp_path, busy):
    text = CONFTEST.replace("None: 3.0", "None: 0.2").replace("os.getloadavg()[0]", str(1e9 * busy))
    assert text.count("None: 0.2") == text.count(f"BUSY = {1e9 * busy}") == 1
    (tmp_path / "conftest.py").write_text(text)
    (tmp_path / "test_a_quick.py").write_text(QUICK)
    (tmp_path / "test_z_long.py").write_text(LONG)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=tmp_path, env=os.environ | {"ORBITLITE_TEST_TIERS": "1"}, capture_output=True,
        text=True,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if "::" in line and "%]" in line]
    assert lines[0].startswith("test_z_long.py::test_first")
    assert len(lines) == 5
    fails = [line for line in lines if "FAILED" in line]
    assert len(fails) == (not busy)
    if fails:
        assert "test_unmarked" in fails[0]
        assert "and a test with its markers has 0.2 s: make it smaller" in done.stdout
    assert ("The machine is busy: the time of tests was not checked." in done.stdout) == busy
