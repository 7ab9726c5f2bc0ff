"""The model card: a bundle's README, written from its config, metadata and scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from orbitlite.model.record import metadata_of, pretrained_only, ranges_of
from orbitlite.variables import in_units

_LIMITS = (
    "## Intended use and limits",
    "",
    "Use it on fields like those it was trained on: same variables and accumulation periods, "
    "similar cell sizes. Scores of other regions and periods are not known.",
    "",
)


def model_card(record: Mapping[str, Any]) -> str:
    """Write the card of a bundle in Markdown.

    Parameters
    ----------
    record : mapping
        The content of `config.json`: `config`, `metadata`, `scores`.

    Returns
    -------
    str
    """
    if record["config"].get("tasks"):
        return _card_of_tasks(record)
    config, metadata = record["config"], record["metadata"]
    known = metadata.get("training", {})
    training = {k: v for k, v in known.items() if k not in ("ranges", "init")}
    ranges = ranges_of(metadata)
    title = f"Downscaling by a factor of {config['factor']}: {', '.join(config['targets'])}"
    lines = [
        *_opening(record, config["targets"], title),
        *_bullets(_input(name, ranges.get(name)) for name in config["inputs"]),
        "",
        f"Fine static fields: {', '.join(config['statics']) or 'none'}.",
        "",
        "## What it was trained on",
        "",
        *_bullets(f"{key}: {_text(value)}" for key, value in training.items()),
        *_beginning(known.get("init")),
        *_pretrained(metadata),
        "",
        "## Network",
        "",
        *_bullets(
            f"{key}: {_text(config[key])}"
            for key in ("patch_size", "embed_dim", "depth", "num_heads", "dropout", "constraint")
        ),
        "",
        "## Licence",
        "",
        f"{metadata.get('license') or 'Not stated.'}",
        "",
        "## Scores",
        "",
        *_score_tables(record["scores"]),
        "",
        *_LIMITS,
    ]
    return "\n".join(lines)


def _opening(
    record: Mapping[str, Any], targets: Iterable[str], title: str, task: str = ""
) -> list[str]:
    """Return what a card begins with, down to what the model reads."""
    metadata = record["metadata"]
    words = "model, members=10" if record["config"].get("noise") else "model"
    return [
        *_front_matter(metadata.get("license"), targets),
        f"# {title}",
        "",
        f"A network of {metadata.get('parameters', 'unknown')} parameters, written by orbitlite "
        f"{metadata.get('orbitlite_version', '(version unknown)')} on "
        f"{metadata.get('created', 'an unknown date')}.",
        "",
        "## Use",
        "",
        "```python",
        "import orbitlite, xarray as xr",
        "",
        f'model = orbitlite.load("path/to/this/folder"{task})',
        f'fine = xr.open_dataset("coarse.nc").orbitlite.predict({words})',
        "```",
        "",
        "## What it reads",
        "",
    ]


def _card_of_tasks(record: Mapping[str, Any]) -> str:
    """Write the card of several tasks on one trunk."""
    config, metadata = record["config"], record["metadata"]
    tasks = config["tasks"]
    targets = dict.fromkeys(name for own in tasks.values() for name in own["targets"])
    first = next(iter(tasks))
    title = f"Downscaling by one trunk with {len(tasks)} tasks: {', '.join(tasks)}"
    lines = [
        *_opening(record, targets, title, f', task="{first}"'),
        *_bullets(config["inputs"]),
        "",
    ]
    for task, own in tasks.items():
        known = metadata_of(record, task)
        training = {
            key: value for key, value in known.get("training", {}).items() if key != "ranges"
        }
        factor = own.get("factor", config["factor"])
        lines += [
            f"## Task {task}",
            "",
            f"Targets by a factor of {factor}: {', '.join(own['targets'])}. Fine static fields: "
            f"{', '.join(own['statics']) or 'none'}. {known.get('parameters', 'unknown')} "
            "parameters with the trunk.",
            "",
            *_bullets(f"{key}: {_text(value)}" for key, value in training.items()),
            "",
        ]
    lines += [
        "## Trunk",
        "",
        *_bullets(
            f"{key}: {_text(config[key])}"
            for key in ("patch_size", "embed_dim", "depth", "num_heads", "dropout")
        ),
        "",
        "## Licence",
        "",
        f"{metadata.get('license') or 'Not stated.'}",
        "",
        "## Scores",
        "",
        "Not evaluated.",
        "",
        *_LIMITS,
    ]
    return "\n".join(lines)


def _front_matter(license: str | None, targets: Iterable[str]) -> list[str]:
    """Return what the Hugging Face Hub reads of a card, in YAML; JSON texts are such."""
    tags = ["climate", "downscaling", *targets]
    stated = [f"license: {json.dumps(license)}"] if license else []
    return ["---", *stated, "library_name: orbitlite", f"tags: {json.dumps(tags)}", "---", ""]


def _input(name: str, ends: list[float] | None) -> str:
    if ends is None:
        return name
    return f"{name}: {in_units(name, f'{ends[0]:.6g} to {ends[1]:.6g}')} in training"


def _beginning(init: Mapping[str, str] | None) -> list[str]:
    """Say which bundle the fit began with, if it did with one."""
    if not init:
        return []
    return [
        "",
        f"It was fine-tuned ({init['tune']}) from the bundle {init['path']}, the SHA-256 of whose "
        f"weights begins with {init['identity']}.",
    ]


def _pretrained(metadata: Mapping[str, Any]) -> list[str]:
    """Say that a model has learned from coarse fields alone, if it has."""
    if not pretrained_only(metadata):
        return []
    return [
        "",
        "It was trained by reconstruction alone, without truth: its decoder has learned nothing, "
        "and predictions are refused until it is tuned (`orbitlite fit --init`).",
    ]


def _bullets(items: Iterable[Any]) -> list[str]:
    return [f"- {item}" for item in items] or ["- not recorded"]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return " to ".join(map(str, value)) if len(value) == 2 else ", ".join(map(str, value))
    return str(value)


def _score_tables(scores: Mapping[str, Any]) -> list[str]:
    if not scores:
        return ["Not evaluated."]
    lines: list[str] = []
    for variable, systems in scores.items():
        names = list(systems)
        lines += [
            f"### {variable}",
            "",
            f"| score | {' | '.join(names)} |",
            f"|---|{'---|' * len(names)}",
        ]
        rows = list(dict.fromkeys(key for values in systems.values() for key in values))
        for row in rows:
            cells = [_number(systems[name].get(row)) for name in names]
            lines.append(f"| {row} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
