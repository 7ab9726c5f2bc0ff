"""Functions on several processes that speak gloo, and fits over processes."""

import contextlib
import csv
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from orbitlite.parallel.folder import read_whole
from orbitlite.parallel.launch import run_ranks
from orbitlite.training.checkpoints import read_checkpoint

RAIN = "total_precipitation_24hr"
CONFIG = {
    "seed_everything": 3,
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False,
                "log_every_n_steps": 1, "enable_model_summary": False},
    "recent": {"every": 0},
    "model": {
        "optimisation": {"lr": 0.003},
        "network": {
            "inputs": [RAIN, "2m_temperature", "temperature_850", "temperature_500",
                       "specific_humidity_850", "mean_sea_level_pressure"],
            "embed_dim": 16, "depth": 1, "num_heads": 4, "channel_groups": 4,
        },
    },
    "data": {
        "fine": "world", "world": {"days": 20, "height": 16, "width": 32}, "batch_size": 8,
        "train": ["2000-01-01", "2000-01-14"], "validate": ["2000-01-15", "2000-01-17"],
        "test": ["2000-01-18", "2000-01-20"],
    },
}  # fmt: skip
"""14 samples in global batches of 8 and 6."""

_OF_A_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "TORCHELASTIC_RUN_ID")


@pytest.fixture
def ranks():
    """Return a function: run `function(rank, size, *arguments)` on each rank, list the results."""
    return run_ranks


class Fits:
    """Fits of `config.yaml` in the current folder, each in a folder of its own.

    Attributes
    ----------
    each_step : tuple
        Words of a fit that keeps a checkpoint of each step, which takes longer than the steps.
    """

    each_step = ("--recent.every", 1, "--recent.count", 20)

    def __init__(self):
        self.started = []

    def fit(self, folder, *words, status=0):
        """Fit as torchrun would start it, in processes that need not import anything.

        They are forks of a server that has; to import torch and Lightning takes each process
        longer than such a fit.
        """
        words = [*map(str, words)]
        size = (
            int(words[words.index("--trainer.devices") + 1]) if "--trainer.devices" in words else 1
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1",
                  "MASTER_PORT": port, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "tests"}  # fmt: skip
        context, said = multiprocessing.get_context("forkserver"), Path(f"{folder}.txt")
        said.write_text("")
        arguments = ["fit", "-c", "config.yaml", "--trainer.default_root_dir", str(folder), *words]
        processes = []
        for rank in range(size):
            own = common | {"RANK": rank, "LOCAL_RANK": rank} if size > 1 else {}
            given = (os.getcwd(), str(said), {n: str(v) for n, v in own.items()}, arguments)
            processes.append(context.Process(target=_fit, args=given))
            processes[-1].start()
        end = time.monotonic() + 200
        for process in processes:
            process.join(max(0, end - time.monotonic()))
        codes = [process.exitcode for process in processes]
        for process in processes:
            process.kill()
        assert codes == [status] * size, said.read_text()
        return said.read_text()

    def start(self, folder, *words, launcher=()):
        """Begin a fit by the command, as users do; it starts its other processes itself."""
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        for name in _OF_A_LAUNCHER:
            environment.pop(name, None)
        line = [sys.executable, *launcher, "-m", "orbitlite.cli", "fit", "-c", "config.yaml",
                "--trainer.default_root_dir", folder, *words]  # fmt: skip
        self.started.append(subprocess.Popen(
            [*map(str, line)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        ))  # fmt: skip
        return self.started[-1]

    def end(self):
        """End whatever a test that failed has left at work."""
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()

    def command(self, folder, *words, status=0):
        """Fit by the command."""
        process = self.start(folder, *words)
        said, _ = process.communicate(timeout=200)
        assert process.returncode == status, said
        return said

    def spread(self, data=1, tensor=1, sequence=1):
        """Return the arguments of a layout, for the same global batch."""
        words = ["--trainer.devices", data * tensor * sequence, "--data.batch_size", 8 // data]
        sizes = {"data": data, "tensor": tensor, "sequence": sequence}
        return [*words, *(w for name, size in sizes.items() for w in (f"--parallel.{name}", size))]

    def column(self, folder, name):
        """Return what a fit has logged under a name."""
        with Path(folder, "logs", "metrics.csv").open() as file:
            return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]

    def tensors(self, path):
        """Return all that a checkpoint holds in tensors, whole, by flat names."""
        if Path(path).is_dir():
            return read_whole(Path(path))
        state = read_checkpoint(path)
        flat = {f"state_dict/{n}": t for n, t in state["state_dict"].items()}
        flat |= {f"current/{n}": t for n, t in state["current"].items()}
        moments = state["optimizer_states"][0]["state"]
        return flat | {f"optimizer/{n}/{k}": t for n, m in moments.items() for k, t in m.items()}


def _fit(folder, said, environment, arguments):
    from orbitlite.cli import main

    output = os.open(said, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    for name in _OF_A_LAUNCHER:
        os.environ.pop(name, None)
    os.environ |= environment
    torch.set_num_threads(1)
    status = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """Return `Fits` in a folder of the module, which is the current one."""
    folder, before = tmp_path_factory.mktemp("fits"), Path.cwd()
    os.chdir(folder)
    try:
        Path("config.yaml").write_text(yaml.safe_dump(CONFIG))
        own = Fits()
        yield own
        own.end()
    finally:
        os.chdir(before)
