import json
import os
import time
from functools import partial

import pytest
import torch

from orbitlite.benchmark import measure
from orbitlite.errors import InputError

CPU = torch.device("cpu")


def sixty_four_mebibytes():
    return lambda: torch.ones(16, measure.MIB).sum()


def twice_in_turn():
    """Two tensors of 40 MiB, never alive together."""

    def call():
        for _ in range(2):
            torch.ones(10, measure.MIB).sum()

    return call


def test_calls_are_timed_in_turn_after_two_unmeasured_rounds():
    order = []
    calls = {name: partial(order.append, name) for name in "ab"}
    measure.medians(calls, 3, CPU)
    assert "".join(order) == "abab" + 3 * "ab"


def test_slow_calls_run_less_often(monkeypatch):
    order, now = [], [0.0]
    monkeypatch.setattr(measure, "perf_counter", lambda: now[0])

    def call(name, seconds):
        order.append(name)
        now[0] += seconds

    calls = {name: partial(call, name, s) for name, s in (("a", 0.5), ("b", 2), ("c", 30))}
    found = measure.medians(calls, 3, CPU)
    assert [order.count(name) for name in "abc"] == [5, 4, 2]
    assert found == {"a": 0.5, "b": 2, "c": 30}


def test_the_median_is_that_of_the_durations():
    naps = iter([0, 0, 0.01, 0.2, 0.03])
    found = measure.medians({"nap": lambda: time.sleep(next(naps))}, 3, CPU)
    assert 0.03 <= found["nap"] < 0.15


@pytest.mark.parametrize(("build", "expected"), [(sixty_four_mebibytes, 64), (twice_in_turn, 40)])
def test_peak_memory_is_what_was_alive_together(build, expected):
    assert measure.peak_memory(build, CPU) == pytest.approx(expected, abs=3)


@pytest.mark.gpu
def test_peak_memory_of_a_gpu_is_the_allocators():
    def build():
        return lambda: torch.ones(16, measure.MIB, device="cuda").sum()

    assert measure.peak_memory(build, torch.device("cuda")) == pytest.approx(64, abs=1)


def test_the_environment_is_as_before(monkeypatch):
    name = "MALLOC_MMAP_THRESHOLD_"
    for before in (None, "7"):
        if before is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, before)
        with measure.returned_memory():
            assert os.environ[name] == "65536"
        assert os.environ.get(name) == before


def test_threads_are_restored():
    before = torch.get_num_threads()
    with measure.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99"])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(InputError, match=name):
        measure.as_device(name)


def test_a_result_tells_versions_and_machine(tmp_path):
    result = measure.document("x", "orbitlite benchmark x", CPU, [{"seconds": 1.0}])
    assert list(result) == ["benchmark", "command", "versions", "hardware", "rows"]
    assert torch.__version__.startswith(result["versions"]["torch"].partition("+")[0])
    assert result["hardware"]["processor"]
    path = measure.check_json(tmp_path / "x.json")
    measure.write_json(path, result)
    assert json.loads(path.read_text()) == result
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


def test_a_result_that_cannot_be_written_is_refused_early(tmp_path):
    for path in (tmp_path, tmp_path / "no" / "x.json"):
        with pytest.raises(InputError, match="--json"):
            measure.check_json(path)
