"""What stands before a fit begins: values that cannot be, machines that are not there, notices."""

import pytest
import yaml

from orbitlite.cli import main
from orbitlite.training.cli import OrbitCLI

LAUNCHERS = (
    "SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID",
    "SLURM_STEP_ID", "SLURM_STEPID", "SLURM_JOB_NAME", "SLURM_NTASKS_PER_NODE", "LOCAL_RANK",
    "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID",
)  # fmt: skip
BATCH = {
    "SLURM_JOB_ID": "9", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}  # fmt: skip


@pytest.fixture
def fit(write_config, tmp_path, monkeypatch, capsys):
    """Return a function: begin a fit, and give what is said and whether it was refused."""
    monkeypatch.chdir(tmp_path)
    fit_alone = {"fit": OrbitCLI.subcommands()["fit"]}
    monkeypatch.setattr(OrbitCLI, "subcommands", staticmethod(lambda: fit_alone))
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    write_config(tmp_path)
    before = sorted(tmp_path.iterdir())

    def run(*words):
        status = main(["fit", "-c", "config.yaml", *words])
        said = capsys.readouterr().err
        lines = [line for line in said.splitlines() if line.startswith("orbitlite: ")]
        assert status == (2 if lines else 0)
        if lines:
            assert len(lines) == 1
            assert sorted(tmp_path.iterdir()) == before
            return lines[0]
        return said

    return run


@pytest.fixture
def begin(fit, monkeypatch):
    """Return `fit`, which ends where its first step would be taken."""
    monkeypatch.setattr(OrbitCLI, "_run_subcommand", lambda self, subcommand: None)
    return fit


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--trainer.accelerator=tpu", "there is no tpu on this machine"),
        ("--trainer.accelerator=gpuu", "trainer.accelerator: expected one of auto, gpu, cpu"),
        ("--trainer.devices=0", "trainer.devices: "),
        ("--trainer.devices=-1", "trainer.devices: "),
        ("--trainer.devices=[7]", "trainer.devices: "),
        ("--trainer.devices=100000", "trainer.devices: "),
        ("--trainer.num_nodes=2", "start the command on every node with torchrun or srun"),
        ("--trainer.strategy=ddp", "trainer.strategy: leave it out"),
        ("--trainer.barebones=true", "trainer.barebones: leave it out"),
        ("--optimizer=SGD", "optimizer: leave it out; model.optimisation"),
        ("--lr_scheduler=StepLR", "lr_scheduler: leave it out; model.optimisation"),
        ("--trainer.profiler=foo", "trainer: When passing string value for the `profiler`"),
        ("--trainer.precision=8", "trainer.precision: expected one of 64"),
        ("--trainer.max_epochs=-5", "trainer.max_epochs: expected 1 or more, found -5"),
        ("--trainer.max_epochs=0", "trainer.max_epochs: expected 1 or more, found 0"),
        ("--trainer.max_epochs=-1", "state max_epochs or max_steps"),
        ("--trainer.max_steps=0", "trainer.max_steps: expected 1 or more, found 0"),
        ("--trainer.max_time=00:00:00:00", "trainer.max_time: expected a time of more than 0"),
        ("--trainer.limit_train_batches=0", "leaves nothing to train on"),
        ("--trainer.limit_val_batches=0.01", "0.01 of 2 batches is none"),
        ("--trainer.limit_val_batches=2.5", "trainer: You have passed invalid value 2.5"),
        ("--trainer.val_check_interval=100", "an epoch has 4 batches"),
        ("--trainer.val_check_interval=0", "trainer.val_check_interval: expected more than 0"),
        ("--trainer.check_val_every_n_epoch=0", "expected 1 or more, found 0"),
        ("--trainer.accumulate_grad_batches=0", "expected 1 or more, found 0"),
        ("--trainer.gradient_clip_val=-1", "expected 0 or more, found -1"),
        ("--trainer.default_root_dir=s3://a/b", "expected a folder of this machine"),
        ("--checkpoint.dirpath=fine.nc/c", "is a file"),
        ("--checkpoint.filename=../x", "checkpoint.filename: expected a file name"),
        ("--checkpoint.monitor=val_rmze", "did you mean 'val_rmse'?"),
        ("--checkpoint.mode=foo", "`mode` can be min, max"),
        ("--checkpoint.every_n_epochs=2", "checkpoint.every_n_epochs: leave it out"),
        ("--ckpt_path=hpc", "no checkpoint hpc"),
        ("--seed_everything=-1", "seed_everything: expected 0 to 4294967295, found -1"),
        ("--seed_everything=true --trainer.devices=2", "need the same seed, found True"),
        ("--model.optimisation.warmup=5", "optimisation.warmup: expected a share"),
        ("--model.optimisation.betas=[1,2]", "optimisation.betas: expected two rates"),
        ("--model.optimisation.lr=0", "optimisation.lr: expected a rate of more than 0"),
        ("--model.network.depth=9999 --model.network.embed_dim=65536", "weights of "),
        ("--trainer.logger=CometLogger", "CometLogger: "),
        ("--prediction_file.name=../x.nc", "prediction_file.name: expected the name of a file"),
    ],
)
def test_refused_before_anything_runs(begin, words, expected):
    assert expected in begin(*words.split())


def test_early_stopping_looks_for_a_score_that_is_logged(begin):
    words = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor")
    assert "EarlyStopping.monitor: nothing is logged as 'vall'" in begin(*words, "vall")
    assert "logged as" not in begin(*words, "val_mae/total_precipitation_24hr")


@pytest.mark.parametrize(
    ("variables", "devices", "expected"),
    [
        ({"SLURM_JOB_ID": "9", "SLURM_NTASKS": "4"}, 1, "srun has not started this process"),
        (BATCH, 2, "srun has not started this process"),
        (BATCH | {"SLURM_JOB_NAME": "bash"}, 1, "srun has not started this process"),
        (BATCH | {"SLURM_STEP_ID": "0"}, 1, "orbitlite: srun has started 4 processes"),
        (BATCH | {"SLURM_STEP_ID": "0"}, 4, "orbitlite: srun has started 4 processes, but not"),
        (BATCH | {"SLURM_NTASKS": "1"}, 1, ""),
        ({"SLURM_PROCID": "3", "RANK": "2"}, 0, "orbitlite: trainer.devices"),
        ({"SLURM_NTASKS": "many"}, 1, "orbitlite: the environment's SLURM_NTASKS is 'many'"),
        ({"LOCAL_RANK": ""}, 1, "orbitlite: the environment's LOCAL_RANK is ''"),
        ({"LOCAL_RANK": "1"}, 2, "orbitlite: the environment's LOCAL_RANK says"),
    ],
)
def test_variables_of_launchers_that_are_not_there(
    begin, monkeypatch, variables, devices, expected
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert expected in begin(f"--trainer.devices={devices}", "--parallel.data", str(devices or 1))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--trainer.limit_val_batches=0"], "no validation is stated"),
        (["--trainer.max_steps=3"], "the fit ends after 3 batches (trainer.max_steps)"),
        (["--trainer.check_val_every_n_epoch=3"], "after 8 batches (trainer.max_epochs), and"),
    ],
)
def test_a_fit_without_a_validation_leaves_its_last_weights(fit, tmp_path, words, why):
    said = fit("--trainer.default_root_dir=run", *words)
    assert said.count(why) == 1
    assert said.index(why) < said.index("No validation says which checkpoint is the best")
    assert (tmp_path / "run/bundle/model.safetensors").exists()


def test_the_last_weights_are_told_only_where_they_are_taken(fit, tmp_path):
    said = fit("--trainer.default_root_dir=run")
    assert "No checkpoint will be the best" not in said
    assert "No validation" not in said


def test_early_stopping_without_a_validation(fit, tmp_path, capsys):
    words = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_rmse"]
    words += ["--trainer.limit_val_batches=0", "--trainer.default_root_dir=run"]
    assert main(["fit", "-c", "config.yaml", *words]) == 2
    assert "EarlyStopping waits for a validation" in capsys.readouterr().err
    assert not (tmp_path / "run/bundle").exists()


def test_a_seed_is_chosen_told_and_recorded(fit, tmp_path):
    words = ["--trainer.fast_dev_run=false", "--trainer.max_steps=1"]
    said = fit("--seed_everything=true", "--trainer.default_root_dir=run", *words)
    written = yaml.safe_load(next((tmp_path / "run").rglob("config.yaml")).read_text())
    assert type(written["seed_everything"]) is int
    assert f"takes the seed {written['seed_everything']};" in said


def test_empty_sections_hold_the_defaults(begin, tmp_path):
    content = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(content + "ema:\nparallel:\nstep_line:\ncheckpoint:\n")
    assert "orbitlite: " not in begin()


def test_the_help_leaves_out_what_cannot_work(begin, capsys):
    with pytest.raises(SystemExit) as end:
        main(["fit", "--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    for name in ("--optimizer", "--lr_scheduler", "--trainer.strategy", "--trainer.barebones"):
        assert name not in shown
    assert "--trainer.max_epochs" in shown
