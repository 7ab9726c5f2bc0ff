"""Fits over processes that are killed, told to stop, or started again by their launcher."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from orbitlite.parallel.folder import read_rest
from orbitlite.training.checkpoints import last_checkpoint

pytestmark = [pytest.mark.dist, pytest.mark.slow]


def wait_for(path, process, seconds=180):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def others(process):
    """Return the processes that a fit has started."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in found]


@pytest.mark.parametrize("victim", ["first", "other"])
def test_a_killed_process_ends_the_others(fits, victim):
    run = Path(f"killed_{victim}")
    words = [*fits.spread(2), "--trainer.max_epochs", 10**4]
    process = fits.start(run, *words, *fits.each_step)
    wait_for(run / "checkpoints" / "step=2.ckpt", process)
    children = others(process)
    assert len(children) == 1
    os.kill(process.pid if victim == "first" else children[0], signal.SIGKILL)
    begin = time.monotonic()
    said, _ = process.communicate(timeout=60)  # all that hold its output have ended
    assert time.monotonic() - begin < 60
    assert process.returncode != 0
    assert "another process of the run is gone" in said or "terminated" in said
    assert "Traceback" not in said, said
    assert last_checkpoint(run / "checkpoints") is not None


@pytest.mark.parametrize("told", ["first", "other", "all"])
def test_all_stop_when_one_is_told(fits, told):
    """At one step, with one message; the fit goes on from there bit for bit."""
    words = [*fits.spread(2), "--trainer.max_epochs", 10, "--model.network.dropout", 0.2]
    words += ["--recent.every", 3, "--recent.count", 20]
    if not Path("unstopped").exists():
        fits.fit("unstopped", *words)
    run = Path(f"stopped_{told}")
    process = fits.start(run, *words)
    wait_for(run / "checkpoints" / "step=3.ckpt", process)
    pids = {"first": [process.pid], "other": others(process)}
    for pid in pids.get(told, [*pids["first"], *pids["other"]]):
        os.kill(pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 143, said
    assert said.count("stopped by SIGTERM at step") == 1
    assert "Traceback" not in said
    step = int(said.split("stopped by SIGTERM at step ")[1].split(";")[0])
    assert read_rest(run / "checkpoints" / "last.ckpt")["global_step"] == step < 20
    fits.fit(run, *words, "--ckpt_path", "last")
    expected, found = (fits.tensors(f"{r}/checkpoints/last.ckpt") for r in ("unstopped", run))
    assert set(expected) == set(found)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_a_launcher_that_starts_again_ends_with_the_same_weights(fits):
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--max-restarts", "2",
                "--master-port", "29641"]  # fmt: skip
    words = [*fits.spread(2), "--trainer.max_epochs", 8, "--ckpt_path", "last"]
    fits.fit("calm", *words)
    process = fits.start("storm", *words, *fits.each_step, launcher=launcher)
    wait_for(Path("storm/checkpoints/step=5.ckpt"), process)
    os.kill(others(process)[0], signal.SIGKILL)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert len(list(Path("storm/checkpoints").glob("step=*.ckpt"))) == 16
    calm, storm = (fits.tensors(f"{run}/checkpoints/last.ckpt") for run in ("calm", "storm"))
    for name, value in calm.items():
        assert torch.equal(storm[name], value), name


_LATE = """
import atexit, sys

rank = int(sys.argv[1])
if rank == 0:  # at the end of the teardown's first part, long and without the lock once let go
    atexit.register(sum, range(10**8))
    atexit.register(open, "teardown", "w")

import time
from pathlib import Path

import torch
import torch.distributed as dist

from orbitlite import cli

held = []


def main():
    dist.init_process_group("gloo", store=dist.FileStore("store", 2), rank=rank, world_size=2)
    held.append(dist.new_group(backend="gloo"))  # as by what fits, until the teardown
    dist.barrier()
    if rank:
        Path("ready").touch()
        while not Path("teardown").exists() and not Path("ended").exists():
            time.sleep(0.02)
        dist.all_reduce(torch.ones(1), group=held[0], async_op=True)
        time.sleep(1)
    else:
        while not Path("ready").exists():
            time.sleep(0.02)
        # The other comes to it in the teardown.
        dist.all_reduce(torch.ones(1), group=held[0], async_op=True)
    print("done")
    return 143


cli.main = main
cli.command()
"""

_MISTAKEN = """
import sys, time
from pathlib import Path

import torch
import torch.distributed as dist

from orbitlite import cli

rank = int(sys.argv[1])


def main():
    dist.init_process_group("gloo", store=dist.FileStore("store", 2), rank=rank, world_size=2)
    dist.barrier()
    if rank == 0:
        dist.all_reduce(torch.ones(1), async_op=True)  # the other never comes to it
        return 2
    while not Path("ended").exists():
        time.sleep(0.02)
    return 0


cli.main = main
cli.command()
"""


def pair(program, folder):
    """Start two processes of a program."""
    return [
        subprocess.Popen([sys.executable, "-c", program, str(rank)], cwd=folder, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for rank in range(2)
    ]  # fmt: skip


def test_a_thread_of_the_group_does_not_spoil_the_status(tmp_path):
    """A tensor that it lets go of in the teardown of the interpreter would abort the process."""
    first, other = pair(_LATE, tmp_path)
    said, _ = first.communicate(timeout=100)
    (tmp_path / "ended").touch()
    other.communicate(timeout=100)
    assert (first.returncode, said.splitlines()[-1]) == (143, "done")


def test_a_mistake_does_not_wait_for_the_other_processes(tmp_path):
    first, other = pair(_MISTAKEN, tmp_path)
    try:
        assert first.wait(timeout=60) == 2
    finally:
        (tmp_path / "ended").touch()
        for process in (first, other):
            process.kill()
            process.communicate(timeout=60)
