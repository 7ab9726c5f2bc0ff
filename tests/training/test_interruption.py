"""A fit that is told to stop saves where it stands, says so, and goes on as if it had not been."""

import logging
import os
import signal

import pytest
import torch

from orbitlite.cli import main
from orbitlite.training.module import DownscalingModule

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.fixture(autouse=True)
def told_by_ctrl_c():
    """Let Ctrl-C count: a shell that starts tests in the background lets them ignore it."""
    before = signal.signal(INT, signal.default_int_handler)
    yield
    signal.signal(INT, before)


def fit(folder, run, *words):
    start = ["fit", "-c", f"{folder}/config.yaml", "--trainer.default_root_dir", f"{folder}/{run}"]
    status = main([*start, *map(str, words)])
    logging.getLogger("orbitlite").handlers = []
    return status


@pytest.fixture(scope="module")
def whole(tmp_path_factory, write_config):
    """A folder with a config and the fit that nobody stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    write_config(folder)
    assert fit(folder, "whole") == 0
    return folder


def send_at(monkeypatch, hook, call, *numbers):
    """Send signals to this process within a call of a step of the module."""
    real, count = getattr(DownscalingModule, hook), [0]

    def step(self, *words):
        if count[0] == call:
            for number in numbers:
                os.kill(os.getpid(), number)
        count[0] += 1
        return real(self, *words)

    monkeypatch.setattr(DownscalingModule, hook, step)


def assert_goes_on(folder, run, everything, *words, like="whole"):
    assert fit(folder, run, "--ckpt_path", "last", *words) == 0
    for kind in ("last", "best"):
        expected, found = (everything(folder / r / f"checkpoints/{kind}.ckpt") for r in (like, run))
        assert set(expected) == set(found)
        for name, value in expected.items():
            assert torch.equal(found[name], value), (kind, name)
    bundles = [folder / name / "bundle" / "model.safetensors" for name in (like, run)]
    assert bundles[0].read_bytes() == bundles[1].read_bytes()


@pytest.mark.parametrize(
    ("hook", "call", "number", "step"),
    [
        ("training_step", 1, TERM, 2),
        pytest.param("training_step", 4, INT, 5, marks=pytest.mark.slow),
        # of the last batch of an epoch: its validation is waited for
        pytest.param("training_step", 3, INT, 4, marks=pytest.mark.slow),
        pytest.param("validation_step", 0, TERM, 4, marks=pytest.mark.slow),
        pytest.param("training_step", 7, TERM, 8, marks=pytest.mark.slow),
    ],
)
def test_told_to_stop(whole, monkeypatch, capfd, everything, hook, call, number, step):
    handlers = [signal.getsignal(n) for n in (TERM, INT)]
    run = f"{hook}{call}"
    with monkeypatch.context() as patch:
        send_at(patch, hook, call, number)
        assert fit(whole, run) == 128 + number
    said = capfd.readouterr().err
    assert f"stopped by {number.name} at step {step}; the state is in " in said
    assert f"{run}/checkpoints/last.ckpt, and the same command with --ckpt_path last" in said
    assert "Traceback" not in said
    assert [signal.getsignal(n) for n in (TERM, INT)] == handlers
    assert everything(whole / run / "checkpoints/last.ckpt")["step"] == step
    assert (whole / run / "checkpoints/best.ckpt").exists() == (step in (4, 5, 8))
    assert not (whole / run / "bundle").exists()
    assert_goes_on(whole, run, everything)


@pytest.mark.slow
def test_no_stop_between_two_steps(whole, monkeypatch, everything):
    """With gradients of two batches in a step, the second is waited for."""
    more = ["--trainer.accumulate_grad_batches", 2]
    assert fit(whole, "whole of two", *more) == 0
    with monkeypatch.context() as patch:
        send_at(patch, "training_step", 0, TERM)
        assert fit(whole, "two", *more) == 143
    assert everything(whole / "two/checkpoints/last.ckpt")["step"] == 1
    assert_goes_on(whole, "two", everything, *more, like="whole of two")


@pytest.mark.slow
def test_no_stop_within_an_epoch_s_validation(whole, monkeypatch, everything):
    more = ["--trainer.val_check_interval", 2, "--recent.every", 1]
    assert fit(whole, "whole of parts", *more) == 0
    with monkeypatch.context() as patch:
        send_at(patch, "training_step", 1, TERM)
        assert fit(whole, "parts", *more) == 143
    assert everything(whole / "parts/checkpoints/last.ckpt")["step"] == 2
    assert (whole / "parts/checkpoints/best.ckpt").exists()
    assert_goes_on(whole, "parts", everything, *more, like="whole of parts")


def test_told_twice(whole, monkeypatch, capfd):
    """Who does not want to wait for a checkpoint does not."""
    send_at(monkeypatch, "training_step", 1, INT, INT)
    assert fit(whole, "twice") == 130
    assert capfd.readouterr().err.endswith("orbitlite: interrupted\n")
    assert not list((whole / "twice").rglob("*.ckpt"))


def test_told_before_the_first_step(whole, monkeypatch, capfd):
    send_at(monkeypatch, "validation_step", 0, TERM)
    assert fit(whole, "early", "--trainer.num_sanity_val_steps", 2) == 143
    assert "orbitlite: stopped by SIGTERM" in capfd.readouterr().err
    assert not list((whole / "early").rglob("*.ckpt"))


def test_who_ignores_ctrl_c_ignores_it(whole, monkeypatch):
    before = signal.signal(INT, signal.SIG_IGN)
    try:
        send_at(monkeypatch, "training_step", 1, INT)
        assert fit(whole, "ignored", "--trainer.max_epochs", 1) == 0
    finally:
        signal.signal(INT, before)
