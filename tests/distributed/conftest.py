"""Run a function on several processes that speak gloo."""

import traceback
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _work(rank, size, function, arguments, folder):
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", size)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    try:
        result = function(rank, size, *arguments)
    except Exception:
        result = traceback.format_exc()
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture
def ranks(tmp_path_factory):
    """Return a function: run `function(rank, size, *arguments)` on each rank, list the results."""

    def run(size, function, *arguments):
        folder = tmp_path_factory.mktemp("ranks")
        mp.spawn(_work, (size, function, arguments, folder), nprocs=size)
        results = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]
        for result in results:
            assert not isinstance(result, str), result
        return results

    return run
