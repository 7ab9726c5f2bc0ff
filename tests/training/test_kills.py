"""A fit that is killed at any moment of any save goes on to what it would have been."""

import multiprocessing
import os
from pathlib import Path

import pytest
import torch

KILLED = 77
OPTIONS = {
    "whole epochs": {},
    "recent": {"recent": {"every": 1, "count": 2}},
    "within epochs": {"trainer": {"val_check_interval": 2}, "recent": {"every": 1, "count": 1}},
    "every second epoch": {"trainer": {"check_val_every_n_epoch": 2, "max_epochs": 3}},
    "steps": {"trainer": {"max_epochs": -1, "max_steps": 8}, "recent": {"every": 4, "count": 1}},
}


def fit(folder, run, kill=None):
    """Fit in this process; it ends at once where `kill` files and folders have got their names.

    Then the next one is written, and not named yet.
    """
    from orbitlite.cli import main

    torch.set_num_threads(1)
    count = [0]

    def watched(function):
        def watch(*words, **options):
            if count[0] == kill:
                os._exit(KILLED)
            count[0] += 1
            return function(*words, **options)

        return watch

    os.replace, os.rename = watched(os.replace), watched(os.rename)  # of Path's methods too
    words = ["fit", "-c", f"{folder}/config.yaml", "--ckpt_path", "last"]
    status = main([*words, "--trainer.default_root_dir", f"{folder}/{run}"])
    Path(folder, run, "moments").write_text(str(count[0]))
    os._exit(status)


def ended(*words):
    """Return the exit status of a fit in a process of its own."""
    process = multiprocessing.get_context("forkserver").Process(target=fit, args=words)
    process.start()
    process.join()
    return process.exitcode


def same(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.very_slow
@pytest.mark.parametrize("name", OPTIONS)
def test_killed_at_any_save(tmp_path, write_config, everything, name):
    write_config(tmp_path, **OPTIONS[name])
    assert ended(str(tmp_path), "whole") == 0
    whole = tmp_path / "whole"
    count = int((whole / "moments").read_text())
    assert count >= 5
    expected = {kind: everything(whole / f"checkpoints/{kind}.ckpt") for kind in ("last", "best")}
    bundle = (whole / "bundle/model.safetensors").read_bytes()
    # of the last saves each moment, of those before every third
    for moment in [m for m in range(count) if m % 3 == len(name) % 3 or m >= count - 6]:
        run = tmp_path / str(moment)
        assert ended(str(tmp_path), run.name, moment) == KILLED
        assert ended(str(tmp_path), run.name) == 0, moment
        for kind, state in expected.items():
            assert same(everything(run / f"checkpoints/{kind}.ckpt"), state), (moment, kind)
        assert (run / "bundle/model.safetensors").read_bytes() == bundle, moment
        assert not [*run.glob(".*"), *run.glob("checkpoints/.*")], moment
