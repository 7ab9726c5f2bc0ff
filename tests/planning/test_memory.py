"""What a step takes on a layout."""

from dataclasses import replace

import pytest

from orbitlite.model.config import DownscalerConfig
from orbitlite.parallel.mesh import Layout
from orbitlite.planning.memory import PARTS, activations, memory
from orbitlite.planning.workload import Workload

INPUTS = ["total_precipitation_24hr", *(f"temperature_{i}" for i in range(8))]
CONFIG = DownscalerConfig(inputs=INPUTS, num_heads=4, embed_dim=64, depth=2)


def test_shards_hold_a_part_of_the_state_and_nothing_else_changes():
    alone = memory(Workload(CONFIG, 32, 64))
    spread = memory(Workload(CONFIG, 32, 64, layout=Layout(data=8, shard=8)))
    assert tuple(alone) == PARTS
    for name in ("weights", "gradients", "optimiser", "average"):
        assert spread[name] == pytest.approx(alone[name] / 8, rel=0.05)
    for name in ("channels", "blocks", "decoder"):
        assert spread[name] == alone[name]
    assert alone["collectives"] == 0 < spread["collectives"]
    replicated = memory(Workload(CONFIG, 32, 64, layout=Layout(data=8, shard=1)))
    assert replicated["weights"] == alone["weights"]


def test_no_average_is_no_memory():
    assert memory(Workload(CONFIG, 32, 64), average=False)["average"] == 0


def test_gradients_that_come_with_the_backward_pass_spare_room_for_activations():
    work = Workload(CONFIG, 32, 64)
    lasting, coming = memory(work), memory(work, accumulated=False)
    assert lasting["gradients"] == lasting["weights"] > coming["gradients"]
    small = Workload(replace(CONFIG, embed_dim=256), 2, 2)
    few = memory(small, accumulated=False)["gradients"]  # but for what the fold of weights keeps
    assert 0.98 * memory(small)["weights"] < few <= memory(small)["weights"]


@pytest.mark.parametrize("axis", ["tensor", "sequence"])
def test_blocks_share_activations(axis):
    config = replace(CONFIG, channel_groups=4)
    whole, part = (
        activations(Workload(config, 32, 64, layout=Layout(**{axis: n}))) for n in (1, 4)
    )
    assert part["blocks"] < 0.6 * whole["blocks"]
    assert part["decoder"] == whole["decoder"]
