"""Fits over processes through the command: the same numbers, resumed anywhere, stopped plainly."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from orbitlite.cli import main
from orbitlite.parallel.folder import is_whole, read_rest, read_whole
from orbitlite.training.checkpoints import last_checkpoint, read_checkpoint
from orbitlite.training.provenance import export

pytestmark = [pytest.mark.dist, pytest.mark.slow]

RAIN = "total_precipitation_24hr"
CONFIG = {
    "seed_everything": 3,
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False,
                "log_every_n_steps": 1, "enable_model_summary": False},
    "recent": {"every": 1, "count": 20},
    "model": {
        "optimisation": {"lr": 0.01},
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


def command(*words, launcher=()):
    start = [sys.executable, *launcher, "-m", "orbitlite.cli", "fit", "-c", "config.yaml"]
    return [*start, *map(str, words)]


def start(*words, launcher=(), **more):
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | more
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK"):
        environment.pop(name, None)
    return subprocess.Popen(
        command(*words, launcher=launcher), env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def fit(folder, *words, status=0, **more):
    process = start("--trainer.default_root_dir", folder, *words, **more)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == status, said
    return said


def spread(data=1, tensor=1, sequence=1):
    words = ["--trainer.devices", data * tensor * sequence, "--data.batch_size", 8 // data]
    sizes = {"data": data, "tensor": tensor, "sequence": sequence}
    return [*words, *(w for name, size in sizes.items() for w in (f"--parallel.{name}", size))]


def column(folder, name):
    with Path(folder, "logs", "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def tensors(path):
    """Return all that a checkpoint holds in tensors, whole, by flat names."""
    if Path(path).is_dir():
        return read_whole(Path(path))
    state = read_checkpoint(path)
    flat = {f"state_dict/{n}": t for n, t in state["state_dict"].items()}
    flat |= {f"current/{n}": t for n, t in state["current"].items()}
    moments = state["optimizer_states"][0]["state"]
    return flat | {f"optimizer/{n}/{k}": t for n, m in moments.items() for k, t in m.items()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A fit over 2 x 2 processes and one on one, with all checkpoints of their four steps."""
    folder = tmp_path_factory.mktemp("runs")
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("config.yaml").write_text(yaml.safe_dump(CONFIG))
        fit("four", *spread(2, 2))
        fit("one")
        yield folder
    finally:
        os.chdir(before)


def test_four_processes_are_one(runs):
    for name in ("train_loss", "val_loss", "val_rmse", f"val_pearson/{RAIN}", f"val_bias/{RAIN}"):
        expected = column("one", name)
        assert len(expected) == (4 if name == "train_loss" else 2)
        assert column("four", name) == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert is_whole(Path("four/checkpoints/last.ckpt"))
    one, four = tensors("one/checkpoints/last.ckpt"), tensors("four/checkpoints/last.ckpt")
    assert set(one) == set(four)
    for name, value in one.items():
        assert four[name].shape == value.shape
    bundles = [load_file(f"{run}/bundle/model.safetensors") for run in ("one", "four")]
    for name, value in bundles[0].items():
        torch.testing.assert_close(bundles[1][name], value, rtol=1e-3, atol=1e-4)


def test_processes_that_share_samples_mix_them_alike(runs):
    for name, sizes in (("mixed", {}), ("mixed shared", {"tensor": 2})):
        fit(name, *spread(**sizes), "--model.mixup", 1, "--trainer.max_epochs", 1)
    mixed = column("mixed", "train_loss")
    assert column("mixed shared", "train_loss") == pytest.approx(mixed, rel=1e-5)
    assert mixed[0] != pytest.approx(column("one", "train_loss")[0], rel=1e-3)


@pytest.mark.parametrize("step", [1, 3])
def test_resumed_at_the_same_layout_it_is_the_same_bit_for_bit(runs, step):
    """Both lie within an epoch; dropout and averages go on as well, for other samples each."""
    words = [*spread(2), "--model.network.dropout", 0.2, "--model.network.channel_dropout", 0.2]
    if not Path("noisy").exists():
        fit("noisy", *words)
    again = f"again{step}"
    fit(again, *words, "--ckpt_path", f"noisy/checkpoints/step={step}.ckpt")
    expected, found = (tensors(f"{run}/checkpoints/last.ckpt") for run in ("noisy", again))
    assert set(expected) == set(found)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert column(again, "train_loss") == column("noisy", "train_loss")[step:]


@pytest.mark.parametrize("sizes", [(4, 1, 1), (1, 2, 1), (1, 1, 1)])
def test_goes_on_at_another_layout(runs, sizes):
    target = "to" + "".join(map(str, sizes))
    fit(target, *spread(*sizes), "--ckpt_path", "four/checkpoints/step=3.ckpt")
    whole, other = (tensors(f"{run}/checkpoints/last.ckpt") for run in ("four", target))
    for name, value in whole.items():
        torch.testing.assert_close(other[name], value, rtol=2e-3, atol=1e-5)
    loss = column(target, "train_loss")
    assert loss == pytest.approx(column("four", "train_loss")[3:], rel=1e-5)


def test_a_file_of_one_process_goes_on_over_four(runs):
    fit("spread", *spread(2, 2), "--ckpt_path", "one/checkpoints/step=3.ckpt")
    loss = column("spread", "train_loss")
    assert loss == pytest.approx(column("one", "train_loss")[3:], rel=1e-5)


def test_one_bundle_from_any_form(runs):
    state = read_checkpoint("four/checkpoints/last.ckpt")
    torch.save(state, "as_file.ckpt")
    export("four/checkpoints/last.ckpt", "a")
    export("as_file.ckpt", "b")
    for name in ("model.safetensors", "config.json"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()


def test_the_commands_take_a_folder(runs, capsys):
    assert main(["info", "four/checkpoints/last.ckpt"]) == 0
    assert "channel groups" in capsys.readouterr().out
    assert main(["export", "four/checkpoints/last.ckpt", "exported"]) == 0
    assert Path("exported/model.safetensors").is_file()
    assert main(["info", "four/checkpoints/none.ckpt"]) == 2
    assert "no checkpoint four/checkpoints/none.ckpt" in capsys.readouterr().err


def test_a_batch_within_an_epoch_is_kept(runs):
    words = ["--trainer.devices", 2, "--data.batch_size", 3]
    said = fit("other", *words, "--ckpt_path", "four/checkpoints/step=1.ckpt", status=2)
    lines = [line for line in said.splitlines() if line.startswith("orbitlite: ")]
    assert len(lines) == 1
    assert "an epoch of 8 samples per step" in lines[0]
    assert "state data.batch_size 4" in lines[0]
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--parallel.data", 3], "data 3 x tensor 1 x sequence 1 is 3 processes, but the run"),
        (["--parallel.tensor", 4, "--model.network.channel_groups", 2], "needs at least 4 channel"),
        (["--parallel.sequence", 4, "--model.network.num_heads", 2], "num_heads 2 should be a mul"),
        (["--parallel.shard", 3], "a divisor of data 4, found 3"),
        (["--parallel.tensr", 2], "did you mean 'parallel.tensor'"),
        (["--trainer.strategy", "ddp"], "trainer.strategy: leave it out"),
    ],
)
def test_layouts_that_do_not_fit(runs, words, message, capsys):
    """All is checked before another process is started."""
    given = ["fit", "-c", "config.yaml", "--trainer.devices", 4, *words]
    assert main([*map(str, given), "--trainer.default_root_dir", "bad"]) == 2
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("orbitlite: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in said
    assert not Path("bad").exists()


def test_a_loss_that_is_not_finite(runs):
    said = fit("nan", *spread(2, 1), "--model.optimisation.lr", 1e30, "--trainer.max_epochs", 9,
               "--trainer.gradient_clip_val", 1e9, "--model.optimisation.warmup", 0.01,
               status=2)  # fmt: skip
    lines = [line for line in said.splitlines() if line.startswith("orbitlite: ")]
    assert len(lines) == 1
    assert "the loss is not finite at step" in lines[0]
    assert "2000-01-" in lines[0]
    assert "Traceback" not in said
    state = read_rest(Path("nan/checkpoints/before_nan.ckpt"))
    step = int(lines[0].split("at step ")[1].split(";")[0])
    assert state["global_step"] == step >= 1


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
def test_a_killed_process_ends_the_others(runs, victim):
    run = Path(f"killed_{victim}")
    process = start("--trainer.default_root_dir", run, *spread(2), "--trainer.max_epochs", 10**4)
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
def test_all_stop_when_one_is_told(runs, told):
    """At one step, with one message; the fit goes on from there bit for bit."""
    words = [*spread(2), "--trainer.max_epochs", 10, "--model.network.dropout", 0.2]
    words += ["--recent.every", 3]
    if not Path("unstopped").exists():
        fit("unstopped", *words)
    run = Path(f"stopped_{told}")
    process = start("--trainer.default_root_dir", run, *words)
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
    fit(run, *words, "--ckpt_path", "last")
    expected, found = (tensors(f"{r}/checkpoints/last.ckpt") for r in ("unstopped", run))
    assert set(expected) == set(found)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_a_damaged_shard_ends_all_with_one_message(runs):
    shutil.copytree("four/checkpoints/last.ckpt", "damaged.ckpt")
    shard = Path("damaged.ckpt/__1_0.distcp")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 4
    shard.write_bytes(content)
    words = ["--ckpt_path", "damaged.ckpt", "--trainer.max_epochs", 3]
    said = fit("from damaged", *spread(2, 2), *words, status=2)
    lines = [line for line in said.splitlines() if line.startswith("orbitlite: ")]
    assert lines == [f"orbitlite: the checkpoint damaged.ckpt is damaged: its file {shard.name} is "
                     "not what was written"]  # fmt: skip
    assert "Traceback" not in said


def test_a_launcher_that_starts_again_ends_with_the_same_weights(runs):
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--max-restarts", "2",
                "--master-port", "29641"]  # fmt: skip
    words = [*spread(2), "--trainer.max_epochs", 8, "--ckpt_path", "last"]
    fit("calm", *words)
    process = start("--trainer.default_root_dir", "storm", *words, launcher=launcher)
    wait_for(Path("storm/checkpoints/step=5.ckpt"), process)
    os.kill(others(process)[0], signal.SIGKILL)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert len(list(Path("storm/checkpoints").glob("step=*.ckpt"))) == 16
    calm, storm = (tensors(f"{run}/checkpoints/last.ckpt") for run in ("calm", "storm"))
    for name, value in calm.items():
        assert torch.equal(storm[name], value), name
