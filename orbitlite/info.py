"""What is in a bundle or a checkpoint, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orbitlite.hub import fetched, is_hub
from orbitlite.model.record import (
    CONFIG,
    check_unchanged,
    config_of,
    metadata_of,
    pretrained_only,
    read_record,
    tasks_of,
)
from orbitlite.tables import PlainTable, shown


def info(path: str) -> PlainTable:
    """Describe a model for the terminal.

    Parameters
    ----------
    path : str
        Bundle (local or any fsspec URL), or a checkpoint of `orbitlite fit` (a local file or
        folder).

    Returns
    -------
    PlainTable

    Raises
    ------
    InputError
        If it is neither, or is damaged.
    """
    checkpoint = Path(path).is_file() or Path(path).suffix == ".ckpt"
    record = _checkpoint_record(path) if checkpoint else _bundle_record(path)
    table = PlainTable(title=path, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for label, text in _network(record):
        table.add_row(label, text)
    table.add_section()
    metadata = record["metadata"]
    for task in tasks_of(record):
        for label, text in _training(metadata_of(record, task)):
            table.add_row(f"{task}: {label}" if task else label, text)
        if task:
            table.add_section()
    made = f"{metadata.get('created', '?')} by orbitlite {metadata.get('orbitlite_version')}"
    table.add_row("made", made)
    table.add_section()
    table.add_row("scores", _scores(record["scores"]))
    return table


def _bundle_record(path: str) -> dict[str, Any]:
    if is_hub(path):
        path = str(fetched(path, [CONFIG])[0])
    record = read_record(path)
    check_unchanged(path, record)
    return record | {"config": config_of(path, record).to_dict()}


def _checkpoint_record(path: str) -> dict[str, Any]:
    from orbitlite.training.checkpoints import read_checkpoint

    state = read_checkpoint(path, weights=False)
    return {
        "config": state["hyper_parameters"]["network"],
        "metadata": state["provenance"]["metadata"],
        "scores": {},
    }


def _network(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    config = record["config"]
    tasks = config.get("tasks") or {}
    for key in ("inputs",) if tasks else ("inputs", "targets", "statics"):
        yield key.replace("_", " "), ", ".join(config[key]) or "none"
    for task, own in tasks.items():
        yield (
            f"task {task}",
            f"{', '.join(own['targets'])} by a factor of {own.get('factor', config['factor'])}, "
            f"constraint {own.get('constraint', config['constraint'])}, statics "
            f"{', '.join(own['statics']) or 'none'}",
        )
    if own := config.get("variables"):
        units = (f"{name} ({fields['units']})" for name, fields in own.items())
        yield "its own variables", ", ".join(units)
    if not tasks:
        yield "factor", str(config["factor"])
    sizes = ("patch_size", "embed_dim", "depth", "num_heads", *(() if tasks else ("constraint",)))
    yield "network", ", ".join(f"{key} {config[key]}" for key in sizes)
    for part, usual in (("trunk", "vit"), ("decoder", "convolutional")):
        if (name := config.get(part, usual)) != usual:
            yield part, f"{name}, options {config.get(f'{part}_options') or 'none'}"
    groups, tokens = config.get("channel_groups", 1), config.get("tokens")
    count = groups if isinstance(groups, int) else len(groups)
    yield "channel groups", f"{count} ({config.get('group_aggregation', 'attention')})"
    kind = f"{config.get('saliency')}, leaves up to {config.get('max_leaf')} patches wide"
    noise = config.get("noise")
    yield "members", f"as many as are asked for ({noise} maps of noise)" if noise else "one"
    if ridge := config.get("ridge"):
        yield "regression", f"of the whole region of {ridge[0]} x {ridge[1]} coarse cells"
    yield "tokens", "every patch" if tokens is None else _budget(tokens, kind)
    parameters = record["metadata"].get("parameters")
    yield "parameters", f"{parameters:,}" if parameters else "not recorded"


def _training(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    training = metadata.get("training", {})
    if period := training.get("period"):
        yield "training period", f"{period[0]} to {period[1]} ({training.get('times')} times)"
    if grid := training.get("grid"):
        (south, north), (west, east) = grid["lat"], grid["lon"]
        cells = " x ".join(map(str, grid["shape"]))
        yield (
            "training region",
            f"{south:g} to {north:g} N, {west:g} to {east:g} E, {cells} coarse cells of "
            f"{grid['spacing']:.4g} degrees",
        )
    for name, source in (training.get("sources") or {}).items():
        if source:
            yield f"{name} source", source if isinstance(source, str) else ", ".join(source)
    for key in ("accumulate", "interpolate"):
        if training.get(key):
            yield key, str(training[key])
    if pretrained_only(metadata):
        yield "trained by", "reconstruction alone, without truth: the decoder has learned nothing"
    if init := training.get("init"):
        yield "tuned from", f"{init['path']} (weights {init['identity']}; {init['tune']})"


def _scores(scores: Mapping[str, Any]) -> PlainTable | str:
    """Set the scores of all systems side by side, a section per variable."""
    if not scores:
        return "not evaluated"
    systems = list(dict.fromkeys(name for rows in scores.values() for name in rows))
    table = PlainTable(box=None, pad_edge=False)
    for name in ("", *systems):
        table.add_column(name, justify="right" if name else "left")
    for variable, rows in scores.items():
        table.add_row(shown(variable, "bold"))
        for score in dict.fromkeys(key for values in rows.values() for key in values):
            cells = (rows.get(name, {}).get(score) for name in systems)
            table.add_row(score, *("" if cell is None else f"{cell:.4g}" for cell in cells))
    return table


def _budget(tokens: int | float, kind: str) -> str:
    share = isinstance(tokens, float) and tokens <= 1
    return f"{tokens:g} of the patches ({kind})" if share else f"{tokens:.0f} ({kind})"
