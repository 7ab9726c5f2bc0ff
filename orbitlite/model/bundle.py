"""The bundle: a published model as one directory that describes itself."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from orbitlite.errors import InputError
from orbitlite.files import beside, flush_tree, put, rename
from orbitlite.hub import LICENSE, at, check_fetched, fetched, is_hub, pushed
from orbitlite.model.card import model_card
from orbitlite.model.contents import files_of, is_of_task, split, statics_file, weights_files
from orbitlite.model.disclosure import disclosed
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.ensemble import Ensemble
from orbitlite.model.record import (
    CARD,
    CONFIG,
    FILES,
    FORMAT,
    MODEL,
    STATICS,
    check_decoder,
    check_unchanged,
    config_of,
    metadata_of,
    parsed_record,
    ranges_of,
    read_record,
    sealed,
    tasks_of,
    unseen_of,
)
from orbitlite.model.statics import Statics, read_statics, same_statics
from orbitlite.model.tasks import Tasks
from orbitlite.model.weights import check_weights, fitting, read_tensors
from orbitlite.remote import store_of
from orbitlite.tasks import task_of
from orbitlite.terminal import visible


@dataclass
class Bundle:
    """A model with what is known about it.

    Attributes
    ----------
    model : Downscaler or Ensemble
        In evaluation mode.
    metadata : dict
        Training period, grid, sources, versions.
    statics : Statics or None
        Fine static fields of the training region.
    scores : dict
        `{variable: {system: {score: value}}}` of the test period; empty if not evaluated.
    path : str
        Where it was loaded from; empty for a model that was never saved.
    identity : str
        First digits of the SHA-256 of its weights, as in `config.json`; empty if never saved.
    task : str
        Which of several tasks of one trunk it is; empty for a model without tasks.
    """

    model: Downscaler | Ensemble
    metadata: dict[str, Any] = field(default_factory=dict)
    statics: Statics | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    path: str = ""
    identity: str = ""
    task: str = ""

    @classmethod
    def from_pretrained(
        cls, name: str, revision: str | None = None, task: str | None = None
    ) -> Bundle:
        """Load a bundle of the Hugging Face Hub, from its cache where that has it.

        Parameters
        ----------
        name : str
            Repository, `org/name`.
        revision : str, optional
            Commit, tag or branch; a commit stays what it is. None: the newest commit.
        task : str, optional
            Which of several tasks.

        Raises
        ------
        InputError
            If there is none, it cannot be fetched, or it is damaged.
        """
        return load_bundle(at(name, revision), task)

    def push_to_hub(
        self,
        name: str,
        *,
        license: str | None = None,
        private: bool | None = None,
        message: str = "A bundle of orbitlite",
    ) -> str:
        """Push the bundle to the Hugging Face Hub, as one commit; of several tasks this one.

        Its record names the files that it was trained on without their folders, and URLs without
        users, passwords and queries; this bundle keeps what it has.

        Parameters
        ----------
        name : str
            Repository, `org/name`; created if it is not there.
        license : str, optional
            Identifier of the licence under which the weights are given, such as `apache-2.0` or
            `cc-by-4.0`. None: that which the bundle was pushed with before; it is never guessed.
        private : bool, optional
            Of a repository that is created. None: as its organisation has set.
        message : str
            Of the commit.

        Returns
        -------
        str
            `hf://org/name@commit`, as `orbitlite.load` takes it.

        Raises
        ------
        InputError
            If no licence is stated, the model is a mean of several, or the Hub refuses.
        """
        stated = license or self.metadata.get("license")
        if not (isinstance(stated, str) and LICENSE.fullmatch(stated)):
            raise InputError(
                "license: expected that of the weights, such as apache-2.0 or cc-by-4.0, found "
                f"{stated!r}; state it"
            )
        if isinstance(self.model, Ensemble):
            raise InputError("a mean of several bundles is none: push each of them")
        with tempfile.TemporaryDirectory() as folder:
            save_bundle(
                Path(folder) / "bundle", self.model,
                metadata={**disclosed(self.metadata), "license": stated},
                statics=self.statics, scores=self.scores,
            )  # fmt: skip
            return pushed(Path(folder) / "bundle", name, FILES, private=private, message=message)


def save_bundle(
    path: str | Path,
    model: Downscaler,
    *,
    metadata: Mapping[str, Any],
    statics: Statics | None = None,
    scores: Mapping[str, Any] | None = None,
) -> None:
    """Write a bundle directory: `config.json`, weights, statics and the model card.

    A local bundle is written under a hidden name first. Of an earlier bundle of that name the files
    are replaced, and `config.json`, which describes them, last. Hidden files beside them stay. On a
    remote store `config.json`, without which nothing loads, is written last.

    Parameters
    ----------
    path : str or Path
        Local directory or fsspec URL.
    model : Downscaler
    metadata : mapping
        JSON-ready.
    statics : Statics, optional
    scores : mapping, optional
        JSON-ready.

    Raises
    ------
    InputError
        If a weight is not finite, the place cannot be written, or is a directory that holds
        something else.
    """
    tensors = {MODEL: model.state_dict()}
    if statics is not None:
        tensors[STATICS] = statics.tensors()
    _save(path, model, tensors, metadata, scores or {})


def save_tasks(
    path: str | Path,
    model: Tasks,
    *,
    metadata: Mapping[str, Any],
    statics: Mapping[str, Statics],
) -> None:
    """Write the bundle directory of several tasks, each with files beside that of the trunk.

    Parameters
    ----------
    path : str or Path
        Local directory or fsspec URL.
    model : Tasks
    metadata : mapping
        JSON-ready; under `tasks` what is of one of them.
    statics : mapping of str to Statics
        By task, where it has any.

    Raises
    ------
    InputError
        As `save_bundle`.
    """
    tensors = split(model.state_dict(), [*model.config.of_tasks])
    tensors |= {statics_file(task): fields.tensors() for task, fields in statics.items()}
    _save(path, model, tensors, metadata, {})


def _save(
    path: str | Path,
    model: Downscaler | Tasks,
    tensors: Mapping[str, Mapping[str, Tensor]],
    metadata: Mapping[str, Any],
    scores: Mapping[str, Any],
) -> None:
    _check_finite(model)
    files = {
        name: save_tensors({key: part.contiguous() for key, part in parts.items()})
        for name, parts in tensors.items()
    }
    record = {
        "format": FORMAT,
        "config": model.config.to_dict(),
        "metadata": dict(metadata),
        "scores": dict(scores),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    # What stands in the file: there are no tuples in JSON.
    record = sealed(json.loads(json.dumps(record)))
    files[CARD] = visible(model_card(record)).encode()
    files[CONFIG] = (json.dumps(record, indent=2) + "\n").encode()
    try:
        if is_hub(path):
            raise InputError(
                f"{path}: export to a folder, load that and push it with push_to_hub, which states "
                "a licence"
            )
        if "://" in str(path):
            _write_remote(str(path), files)
        else:
            _write_local(Path(path), files)
    except OSError as error:
        raise InputError(f"cannot write the bundle {path}: {error.strerror or error}") from error


def _check_finite(model: Downscaler | Tasks) -> None:
    """Refuse a model of which no prediction would be finite."""
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(
                f"the model is not exported: its weights {name} are not finite, so nor would its "
                "predictions be; take an earlier checkpoint, or fit with a lower "
                "model.optimisation.lr"
            )


def _check_place(path: str | Path, names: Iterable[str]) -> None:
    """Refuse to write among files that are not those of a bundle."""
    visible = {name for name in names if not name.startswith(".")}
    if not visible:
        return
    if CONFIG not in visible:
        raise InputError(f"{path} is not empty and is no bundle; choose another folder")
    known = {CONFIG, MODEL, STATICS, CARD}
    if foreign := sorted(name for name in visible - known if not is_of_task(name)):
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise InputError(
            f"{path} holds {', '.join(foreign[:3])}{more}, no part of a bundle; choose another "
            "folder, or take that away"
        )
    try:
        parsed_record(path)
    except InputError as error:
        raise InputError(
            f"{path}: its {CONFIG} is not that of a bundle; choose another folder"
        ) from error


def _write_local(path: Path, files: Mapping[str, bytes]) -> None:
    path = path.resolve()
    if path.exists():
        _check_place(path, [entry.name for entry in path.iterdir()])
    temporary = beside(path, "partial")
    shutil.rmtree(temporary, ignore_errors=True)  # of an export that was cut short
    try:
        temporary.mkdir(parents=True)
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        if not path.exists():
            put(temporary, path)
            return
        flush_tree(temporary)
        for name in (entry.name for entry in path.iterdir()):
            if name not in files and (name == STATICS or is_of_task(name)):
                (path / name).unlink()
        for name in files:  # the config is last
            rename(temporary / name, path / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_remote(path: str, files: Mapping[str, bytes]) -> None:
    store, root = store_of(path)
    root = root.rstrip("/")
    names = []
    with contextlib.suppress(FileNotFoundError, PermissionError):  # not there, not to be listed
        names = [
            str(entry).rstrip("/").rpartition("/")[2] for entry in store.ls(root, detail=False)
        ]
    _check_place(path, names)
    store.makedirs(root, exist_ok=True)
    for name, data in files.items():
        store.pipe_file(f"{root}/{name}", data)


def load_bundle(path: str | Path, task: str | None = None) -> Bundle:
    """Read a bundle and check that its files are whole and unchanged.

    Of several tasks what the others have for themselves is neither fetched nor read.

    Parameters
    ----------
    path : str or Path
        Local directory, any fsspec URL, or `hf://org/name@revision` of the Hugging Face Hub.
    task : str, optional
        Which of several tasks of the bundle; of one it need not be stated.

    Returns
    -------
    Bundle
        The model in evaluation mode, on the CPU.

    Raises
    ------
    InputError
        If there is no bundle, a file is missing or changed, or its format is newer; if it has
        several tasks and none is stated, or not that one.
    """
    named = str(path)
    if is_hub(path):
        path, named = fetched(named, FILES)
        check_fetched(named, path, [CONFIG])
    record = read_record(path)
    task = task_of(task, tasks_of(record), named)
    if task and is_hub(named):
        path, named = fetched(named, [CONFIG, *files_of([task])])
    digests = record["sha256"]
    config = config_of(path, record).of_tasks[task]
    if is_hub(named):
        check_fetched(named, Path(path), [name for name in digests if name in files_of([task])])
    weights: dict[str, Tensor] = {}
    for file in weights_files(task):
        if file not in digests:
            raise InputError(f"{path}: {CONFIG} does not list {file}; export the model again")
        weights |= read_tensors(path, file, digests[file], fitting(path, config, file, task))
    check_unchanged(path, record)  # what a change breaks was told before
    model = Downscaler(config)
    model.load_state_dict(weights)
    check_weights(path, model)
    return Bundle(
        model.eval(),
        metadata_of(record, task),
        read_statics(path, statics_file(task), digests, config),
        {} if task else record["scores"],
        named,
        _identity([digests[file] for file in weights_files(task)]),
        task,
    )


def _identity(digests: Sequence[str]) -> str:
    """Return the first digits of the checksum of the weights, or of those of their files."""
    one, *more = digests
    return (hashlib.sha256("".join(digests).encode()).hexdigest() if more else one)[:12]


def load_mean(paths: Sequence[str | Path], task: str | None = None) -> Bundle:
    """Read several bundles as one whose model is the mean of theirs.

    Parameters
    ----------
    paths : sequence of str or Path
        Local directories or fsspec URLs.
    task : str, optional
        Which of several tasks of each.

    Returns
    -------
    Bundle
        With statics and metadata of the first, no scores, and the identities of all. Its ranges
        of training are those that are within the ranges of every one that has one recorded; what
        one had no value of in training is missing to it.

    Raises
    ------
    InputError
        If one cannot be read or has a decoder that has learned nothing, or they are not of one task
        and one region.
    """
    bundles = [load_bundle(path, task) for path in paths]
    model = Ensemble(
        [bundle.model for bundle in bundles if isinstance(bundle.model, Downscaler)],
        [unseen_of(bundle.metadata, bundle.model.config.inputs) for bundle in bundles],
    )
    first = bundles[0]
    for bundle in bundles:
        check_decoder(bundle.metadata)
    for bundle in bundles[1:]:
        if not same_statics(first.statics, bundle.statics):
            raise InputError(
                f"models are averaged only if they were trained with the same fine statics; those "
                f"of {bundle.path} are not those of {first.path}"
            )
        for name in ("accumulate", "interpolate", "grid", "context"):
            expected, found = (b.metadata.get("training", {}).get(name) for b in (first, bundle))
            if found != expected:
                raise InputError(
                    f"models are averaged only if they were trained on like data: {name} is "
                    f"{expected} for {first.path} and {found} for {bundle.path}"
                )
    return Bundle(
        model.eval(),
        _with_common_ranges(bundles),
        first.statics,
        path=" + ".join(bundle.path for bundle in bundles),
        identity="+".join(bundle.identity for bundle in bundles),
        task=first.task,
    )


def _with_common_ranges(bundles: Sequence[Bundle]) -> dict[str, Any]:
    """Return the metadata of the first; beyond its ranges is what is so for any of the bundles."""
    metadata = bundles[0].metadata
    known = [ranges for bundle in bundles if (ranges := ranges_of(bundle.metadata))]
    if not known:
        return metadata
    common = {
        name: [max(low for low, _ in ends), min(high for _, high in ends)]
        for name in dict.fromkeys(name for part in known for name in part)
        if (ends := [part[name] for part in known if name in part])
    }
    return metadata | {"training": metadata.get("training", {}) | {"ranges": common}}
