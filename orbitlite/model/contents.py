"""Contents: which tensors stand in which file of a bundle.

A bundle without tasks has its weights and its fine statics in a file each. Of tasks the trunk is in
the file of the weights, and each has files of its own for the rest: what is not asked for is
neither fetched nor read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from orbitlite.model.record import MODEL, STATICS
from orbitlite.model.tasks import PREFIX, is_shared

_OF_TASK = re.compile(r"(task|statics)_[A-Za-z0-9][A-Za-z0-9_-]*\.safetensors")


def weights_files(task: str) -> list[str]:
    """Return the files with the weights of a task; of a network without tasks its name is empty.

    Examples
    --------
    >>> weights_files(""), weights_files("rain")
    (['model.safetensors'], ['model.safetensors', 'task_rain.safetensors'])
    """
    return [MODEL, f"task_{task}.safetensors"] if task else [MODEL]


def statics_file(task: str) -> str:
    """Return the file with the fine statics of a task, if it has any."""
    return f"statics_{task}.safetensors" if task else STATICS


def files_of(tasks: Sequence[str]) -> list[str]:
    """Return all files of tensors that a bundle of some tasks may have."""
    found = [name for task in tasks for name in (*weights_files(task), statics_file(task))]
    return [*dict.fromkeys(found)]


def is_of_task(name: str) -> bool:
    """Tell whether a file is one of a task, of this bundle or of one that was there before."""
    return _OF_TASK.fullmatch(name) is not None


def belongs(weight: str, file: str, task: str) -> bool:
    """Tell whether a weight of a network stands in a file, in a bundle with that task."""
    return not task or is_shared(weight) == (file == MODEL)


def split(state: Mapping[str, Tensor], tasks: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Return the weights of `Tasks` by file, under the names of a network without tasks."""
    found: dict[str, dict[str, Tensor]] = {MODEL: {}}
    found |= {weights_files(task)[-1]: {} for task in tasks}
    for name, value in state.items():
        task, _, own = name.removeprefix(PREFIX).partition(".")
        if name.startswith(PREFIX):
            found[weights_files(task)[-1]][own] = value
        else:
            found[MODEL][name] = value
    return found
