"""Launch files call the command as it wants to be called."""

import os
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
SLURM = {
    "SLURM_JOB_NODELIST": "a,b", "SLURM_JOB_ID": "70001", "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_JOB_NUM_NODES": "2",
}  # fmt: skip

STAND_INS = {
    "torchrun": 'echo "$@"',
    "srun": 'echo "$@" at $MASTER_ADDR:$MASTER_PORT',
    "scontrol": r"printf 'a\nb\n'",
    "nvidia-smi": r"printf '0\n1\n'",
}


@pytest.fixture
def launch(tmp_path):
    """Return what a launch file hands on, with stand-ins for what starts processes."""
    for name, body in STAND_INS.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def call(name, *arguments, **environment):
        places = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(
            [TOOLS / name, *arguments], env=places | environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    return call


FIT = "orbitlite fit -c configs/1b.yaml"


def test_torchrun(launch):
    status, text = launch("launch_torchrun.sh", "configs/1b.yaml", NODES="2", HEAD="first")
    assert status == 0
    for part in (
        "--nnodes 2",
        "--nproc-per-node 2",
        "--max-restarts 3",
        "--rdzv-endpoint first:29500",
    ):
        assert part in text
    assert f"{FIT} --trainer.devices 2 --trainer.num_nodes 2 --parallel.tensor 1" in text
    assert text.rstrip().endswith("--ckpt_path last")


def test_slurm(launch):
    more = ("--parallel.activation_checkpointing", "full")
    status, text = launch("launch_slurm.sh", "configs/1b.yaml", *more, **SLURM, TENSOR="4")
    assert status == 0
    assert f"{FIT} --trainer.devices 4 --trainer.num_nodes 2 --parallel.tensor 4" in text
    assert text.rstrip().endswith(
        "--ckpt_path last --parallel.activation_checkpointing full at a:30001"
    )


@pytest.mark.parametrize("name", ["launch_torchrun.sh", "launch_slurm.sh"])
def test_a_config_is_needed(launch, name):
    status, text = launch(name)
    assert status != 0
    assert "state a config" in text
