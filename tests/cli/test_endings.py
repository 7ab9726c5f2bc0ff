"""How a command ends that is interrupted, breaks or is not listened to."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from orbitlite.cli import main
from orbitlite.inference.journal import Journal

RAIN = "total_precipitation_24hr"


def test_interrupt(files, monkeypatch, fails, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(xr.Dataset, "to_netcdf", stop)
        assert main(["downscale", "coarse.nc", "fine.nc", *files]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert sorted(os.listdir()) == [".fine.nc.partial", "coarse.nc"]
    assert "unfinished fine.nc" in fails("downscale", "coarse.nc", "fine.nc", *files)
    assert main(["downscale", "coarse.nc", "fine.nc", *files, "--resume"]) == 0
    assert sorted(os.listdir()) == ["coarse.nc", "fine.nc"]
    assert main(["downscale", "coarse.nc", "fine.nc", *files, "--resume"]) == 0
    assert "whole already" in capsys.readouterr().err


@pytest.mark.slow
def test_real_interrupt(files, coarse):
    many = xr.concat([coarse] * 400, "time", combine_attrs="override")
    days = np.datetime64("2001-01-01", "ns") + np.arange(2000) * np.timedelta64(1, "D")
    many.assign_coords(time=days).to_netcdf("many.nc")
    words = [sys.executable, "-m", "orbitlite.cli", "downscale", "many.nc", "new/fine.nc"]
    words = [*words, *files, "--batch-size", "1"]
    # a runner of tests may hand down an ignored SIGINT
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    while process.poll() is None and len(Journal(Path("new/fine.nc")).done) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "orbitlite: interrupted"
    assert "--resume goes on" in err
    assert os.listdir("new") == [".fine.nc.partial"]
    assert main(["downscale", "many.nc", "new/fine.nc", *files, "--resume"]) == 0
    assert os.listdir("new") == ["fine.nc"]


def test_bugs_keep_their_traceback(files, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("orbitlite.api.to_file", broken)
    with pytest.raises(ZeroDivisionError):
        main(["downscale", "coarse.nc", "fine.nc", *files])


def test_reader_that_leaves(files):
    command = f"{sys.executable} -m orbitlite.cli info {files[1]} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_verbose_says_where_from(files, capsys):
    assert main(["downscale", "coarse.nc", "fine.nc", *files, "-v"]) == 0
    assert re.search(r"\d INFO orbitlite: Wrote fine.nc", capsys.readouterr().err)
