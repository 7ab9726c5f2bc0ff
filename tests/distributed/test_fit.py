"""Fits over processes through the command: the same numbers, resumed anywhere, wrong plainly."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from orbitlite.cli import main
from orbitlite.model.bundle import load_bundle
from orbitlite.parallel.folder import is_whole, read_rest
from orbitlite.training.checkpoints import read_checkpoint
from orbitlite.training.provenance import export

pytestmark = [pytest.mark.dist, pytest.mark.slow]

RAIN = "total_precipitation_24hr"


@pytest.fixture(scope="module")
def runs(fits):
    """A fit over 2 x 2 processes and one on one, with all checkpoints of their four steps."""
    fits.command("four", *fits.spread(2, 2), *fits.each_step)
    fits.fit("one", *fits.each_step)
    return fits


def test_four_processes_are_one(runs):
    for name in ("train_loss", "val_loss", "val_rmse", f"val_pearson/{RAIN}", f"val_bias/{RAIN}"):
        expected = runs.column("one", name)
        assert len(expected) == (4 if name == "train_loss" else 2)
        assert runs.column("four", name) == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert is_whole(Path("four/checkpoints/last.ckpt"))
    one, four = (runs.tensors(f"{run}/checkpoints/last.ckpt") for run in ("one", "four"))
    assert set(one) == set(four)
    for name, value in one.items():
        assert four[name].shape == value.shape
    bundles = [load_file(f"{run}/bundle/model.safetensors") for run in ("one", "four")]
    one, four = (load_bundle(f"{run}/bundle") for run in ("one", "four"))
    ranges = one.metadata["training"]["ranges"]
    assert tuple(ranges) == one.model.config.inputs
    assert list(four.metadata["training"]["ranges"].items()) == list(ranges.items())
    for name, value in bundles[0].items():
        torch.testing.assert_close(bundles[1][name], value, rtol=1e-3, atol=1e-4)


def test_steps_over_processes_and_batches_are_whole_steps(fits):
    """Tiles of unequal area, in steps of eight samples and a last one of four."""
    words = ["--data.tile", 3, "--data.halo", 0, "--trainer.max_epochs", 1]
    words += ["--data.train", "['2000-01-01','2000-01-04']", "--model.network.patch_size", 1]
    fits.fit("tiles", *words)
    fits.fit("tiles of two", *words, *fits.spread(2), "--data.batch_size", 2,
             "--trainer.accumulate_grad_batches", 2)  # fmt: skip
    found = fits.column("tiles of two", "val_loss")
    assert found == pytest.approx(fits.column("tiles", "val_loss"), rel=1e-5)
    one, two = (fits.tensors(f"{run}/checkpoints/last.ckpt") for run in ("tiles", "tiles of two"))
    moments = [name for name in one if name.endswith("exp_avg")]
    assert moments
    for name in moments:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-6)


def test_processes_that_share_samples_mix_them_alike(runs):
    """What is drawn after the weights, dropout too, is drawn as if one process had built them."""
    words = ["--model.mixup", 1, "--model.network.dropout", 0.2, "--trainer.max_epochs", 1]
    layouts = {"mixed": {}, "mixed shared": {"tensor": 2}, "mixed in runs": {"sequence": 2}}
    for name, sizes in layouts.items():
        runs.fit(name, *runs.spread(**sizes), *words)
    mixed = runs.column("mixed", "train_loss")
    for name in layouts:
        assert runs.column(name, "train_loss") == pytest.approx(mixed, rel=1e-5)
    assert mixed[0] != pytest.approx(runs.column("one", "train_loss")[0], rel=1e-3)


def test_members_are_the_same_over_processes(runs):
    """Noise belongs to the place and the step, not to the process or its batch."""
    words = ["--model.network.noise", 4, "--model.loss", "crps"]
    words += ["--model.structure", "{spectral_crps: 0.1}", "--trainer.max_epochs", 1]
    runs.fit("drawn", *words)
    runs.fit("drawn over four", *words, *runs.spread(2, 2))
    runs.fit("drawn in two", *words, "--data.batch_size", 4, "--trainer.accumulate_grad_batches", 2)
    for name in ("train_loss", "val_loss", "val_crps", f"val_spread_skill/{RAIN}"):
        expected = runs.column("drawn", name)
        assert runs.column("drawn over four", name) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    found = runs.column("drawn in two", "val_crps")
    assert found == pytest.approx(runs.column("drawn", "val_crps"), rel=1e-4)
    sizes = [
        float(load_file(f"{run}/bundle/model.safetensors")["noise_size"])
        for run in ("drawn", "drawn over four", "drawn in two")
    ]
    assert sizes == pytest.approx(sizes[:1] * 3, rel=1e-3)
    assert sizes[0] != 1
    kept = read_checkpoint("drawn/checkpoints/best.ckpt")["callbacks"]
    assert any("'monitor': 'val_crps'" in name for name in kept)


@pytest.mark.parametrize("step", [1, 3])
def test_resumed_at_the_same_layout_it_is_the_same_bit_for_bit(runs, step):
    """Both lie within an epoch; dropout, averages and members of the steps go on as well."""
    words = [*runs.spread(2), "--model.network.dropout", 0.2]
    words += ["--model.network.channel_dropout", 0.2]
    words += ["--model.network.noise", 2, "--model.loss", "crps"]
    if not Path("noisy").exists():
        runs.fit("noisy", *words, *runs.each_step)
    again = f"again{step}"
    runs.fit(again, *words, "--ckpt_path", f"noisy/checkpoints/step={step}.ckpt")
    expected, found = (runs.tensors(f"{run}/checkpoints/last.ckpt") for run in ("noisy", again))
    assert set(expected) == set(found)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert runs.column(again, "train_loss") == runs.column("noisy", "train_loss")[step:]


@pytest.mark.parametrize("sizes", [(4, 1, 1), (1, 2, 1), (1, 1, 1)])
def test_goes_on_at_another_layout(runs, sizes):
    target = "to" + "".join(map(str, sizes))
    runs.fit(target, *runs.spread(*sizes), "--ckpt_path", "four/checkpoints/step=3.ckpt")
    whole, other = (runs.tensors(f"{run}/checkpoints/last.ckpt") for run in ("four", target))
    for name, value in whole.items():
        torch.testing.assert_close(other[name], value, rtol=2e-3, atol=1e-5)
    loss = runs.column(target, "train_loss")
    assert loss == pytest.approx(runs.column("four", "train_loss")[3:], rel=1e-5)


def test_a_file_of_one_process_goes_on_over_four(runs):
    runs.fit("spread", *runs.spread(2, 2), "--ckpt_path", "one/checkpoints/step=3.ckpt")
    loss = runs.column("spread", "train_loss")
    assert loss == pytest.approx(runs.column("one", "train_loss")[3:], rel=1e-5)


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
    said = runs.fit("other", *words, "--ckpt_path", "four/checkpoints/step=1.ckpt", status=2)
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
    words = ["--trainer.max_epochs", 9, "--trainer.gradient_clip_val", 1e9]
    words += ["--model.optimisation.lr", 1e30, "--model.optimisation.warmup", 0.01]
    said = runs.command("nan", *runs.spread(2, 1), *words, status=2)
    lines = [line for line in said.splitlines() if line.startswith("orbitlite: ")]
    assert len(lines) == 1
    assert "the loss is not finite at step" in lines[0]
    assert "2000-01-" in lines[0]
    assert "Traceback" not in said
    state = read_rest(Path("nan/checkpoints/before_nan.ckpt"))
    step = int(lines[0].split("at step ")[1].split(";")[0])
    assert state["global_step"] == step >= 1


def test_a_damaged_shard_ends_all_with_one_message(runs):
    shutil.copytree("four/checkpoints/last.ckpt", "damaged.ckpt")
    shard = Path("damaged.ckpt/__1_0.distcp")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 4
    shard.write_bytes(content)
    words = ["--ckpt_path", "damaged.ckpt", "--trainer.max_epochs", 3]
    said = runs.fit("from damaged", *runs.spread(2, 2), *words, status=2)
    lines = [line for line in said.splitlines() if line.startswith("orbitlite: ")]
    assert lines == [f"orbitlite: the checkpoint damaged.ckpt is damaged: its file {shard.name} is "
                     "not what was written"]  # fmt: skip
    assert "Traceback" not in said
