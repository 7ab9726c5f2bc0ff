"""Going on from a checkpoint: which one is meant, and the settings of the fit that wrote it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from orbitlite.errors import InputError
from orbitlite.notice import notice
from orbitlite.renamed import current
from orbitlite.training.arguments import LINKED, check_sections
from orbitlite.training.checkpoints import last_checkpoint, read_checkpoint
from orbitlite.training.machine import fitted
from orbitlite.training.stated import Stated, without

logger = logging.getLogger(__name__)

RUN = "runs/default"
"""Folder of a run that states none."""

CONFIG = "config.yaml"
"""Where the settings of a fit are written, in the folder of its curve."""
NAMED = "# orbitlite run "
"""What the first line of a config begins with that a fit has written; its run's name follows."""

SETTINGS = (
    "seed_everything", "trainer", "checkpoint", "ema", "step_line", "prediction_file", "recent",
    "parallel", "init",
)  # fmt: skip
"""Settings of a fit that its checkpoints hold beside those of the network and of the data."""

_MOST, _DEEPEST = 100_000, 20
"""Values in the settings of a checkpoint, and sections within sections: fits have far fewer."""


def with_last_checkpoint(arguments: list[str]) -> list[str]:
    """Put the path of the run's last whole checkpoint in place of the word `last`."""
    stated = Stated(arguments)
    if stated.value("ckpt_path") != "last":
        return arguments
    root = stated.value("trainer.default_root_dir") or RUN
    folder = Path(str(stated.value("checkpoint.dirpath") or Path(str(root)) / "checkpoints"))
    path = last_checkpoint(folder, _latest_run(Path(str(root))))
    if path is None and arguments[0] != "fit":
        raise InputError(f"--ckpt_path last: there is no checkpoint in {folder}")
    if path is None:
        logger.info("There is no checkpoint in %s yet; the fit starts from the beginning", folder)
    found = "null" if path is None else str(path)
    return [*without(arguments, "--ckpt_path"), "--ckpt_path", found]


def run_of(folder: Path) -> str:
    """Return the name of the run of a folder; empty without one."""
    try:
        with (folder / CONFIG).open(errors="replace") as file:
            first = file.readline()
    except OSError:
        return ""
    return first.removeprefix(NAMED).strip() if first.startswith(NAMED) else ""


def _latest_run(root: Path) -> str:
    """Return the name of the fit that last began in a folder, with a logger or without."""
    configs = [path for path in (root / "logs" / CONFIG, root / CONFIG) if path.is_file()]
    newest = max(configs, key=lambda path: path.stat().st_mtime, default=None)
    return "" if newest is None else run_of(newest.parent)


def with_checkpoint_settings(arguments: list[str]) -> list[str]:
    """Put the settings of a checkpoint before the user's arguments, as a first config.

    Raises
    ------
    InputError
        If the checkpoint cannot be read, or its settings are none.
    """
    stated = Stated(arguments)
    path = stated.value("ckpt_path")
    if path is None:
        return arguments
    import yaml

    settings = settings_of(read_checkpoint(str(path), weights=False), str(path))
    settings = fitted(settings, stated, arguments[0])
    notice(logger, f"Settings not stated are those of {path}.")
    # in their order: sources take turns, and tasks are laid out, in that of their names
    text = yaml.safe_dump(settings, sort_keys=False)
    return [arguments[0], "--config", text, *arguments[1:]]


def seed_of(path: str) -> Any:
    """Return the seed of the fit that wrote a checkpoint; None if it holds none."""
    settings = read_checkpoint(path, weights=False).get("settings")
    return settings.get("seed_everything") if isinstance(settings, dict) else None


def settings_of(state: dict[str, Any], place: str) -> dict[str, Any]:
    """Return the settings that a checkpoint holds, as a config would.

    Parameters
    ----------
    state : dict
        Of `read_checkpoint`.
    place : str
        Where the checkpoint is.

    Raises
    ------
    InputError
        If they are not plain keys and values, or name a class where a config has a source.
    """
    found = {name: value for name, value in _section(state, "settings", place).items()
             if name in SETTINGS}  # fmt: skip
    data = _section(state, "datamodule_hyper_parameters", place)
    found["model"] = _section(state, "hyper_parameters", place)
    found["data"] = data
    plain: dict[str, Any] = _Plain(place)(found)
    check_sections(place, plain)
    plain = current(plain, "config", tell=False)
    plain["data"] = {n: v for n, v in plain["data"].items() if n not in LINKED.values()}
    for section in ("model", "data"):
        if _names_a_class(plain[section]):
            raise InputError(
                f"{place} is refused: its {section} settings name a class, which those of no fit "
                "do; do not use a checkpoint of unknown origin"
            )
    return plain


def _section(state: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    found = state.get(name) or {}
    if not isinstance(found, dict):
        raise InputError(f"{place}: expected keys and values in its {name}, found {found!r:.80}")
    return found


def _names_a_class(content: Any) -> bool:
    if isinstance(content, dict):
        return "class_path" in content or any(map(_names_a_class, content.values()))
    return isinstance(content, list) and any(map(_names_a_class, content))


class _Plain:
    """Turns the settings of a checkpoint into what YAML can hold, and refuses anything else."""

    def __init__(self, place: str) -> None:
        self._place, self._left = place, _MOST

    def __call__(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise InputError(f"{self._place} is refused: its settings have no end")
        if isinstance(value, dict):
            return {str(k): self(v, depth + 1) for k, v in value.items() if str(k)[:1] != "_"}
        if isinstance(value, (list, tuple)):
            return [self(entry, depth + 1) for entry in value]
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise InputError(
            f"{self._place} is refused: its settings hold a {type(value).__name__}, where a config "
            "has numbers and words"
        )
