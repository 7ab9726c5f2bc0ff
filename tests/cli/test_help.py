"""How fast the command answers, and what it offers."""

import re
import subprocess
import sys

import pytest

from orbitlite.cli import main


@pytest.mark.parametrize(
    "words",
    [
        ["--help"], ["--version"], ["demo", "--help"], ["downscale", "--help"],
        ["evaluate", "--help"], ["export", "--help"], ["info", "--help"], ["statistics", "--help"],
        ["benchmark", "channels", "--help"], ["cordex-bench", "submit", "--help"],
        ["variables", "--help"], ["variables", "snow"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_help_needs_no_torch(words):
    code = (
        "import sys\nfrom orbitlite.cli import main\n"
        f"try: main({words})\nexcept SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'lightning', 'dask.array', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    commands = [
        "demo",
        "fit",
        "validate",
        "test",
        "predict",
        "downscale",
        "evaluate",
        "export",
        "info",
        "statistics",
        "benchmark",
        "cordex",  # -bench
        "plan",
        "variables",
    ]
    assert re.findall(r"^    (\w+)", shown, flags=re.M)[: len(commands)] == commands
