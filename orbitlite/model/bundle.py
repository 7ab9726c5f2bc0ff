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
from orbitlite.model.config import DownscalerConfig
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
    check_unchanged,
    config_of,
    parsed_record,
    ranges_of,
    read_record,
    sealed,
)
from orbitlite.model.weights import Shapes, check_weights, fitting, read_tensors
from orbitlite.remote import store_of
from orbitlite.terminal import visible


@dataclass(frozen=True)
class Statics:
    """The fine static fields that a model was trained with.

    Attributes
    ----------
    values : Tensor of shape (S, fH, fW)
        In the order of `DownscalerConfig.statics`, rows from north to south, physical units.
    lat_edges : Tensor of shape (fH + 1,), optional
        Degrees, descending, float64: of cells between parallels and meridians.
    lon_edges : Tensor of shape (fW + 1,), optional
        Degrees, ascending, float64.
    corners : Tensor of shape (fH + 1, fW + 1, 2), optional
        Latitudes and longitudes in degrees, float64, of any other grid in place of the edges.
    """

    values: Tensor
    lat_edges: Tensor | None = None
    lon_edges: Tensor | None = None
    corners: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Return those that there are, by name."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: part for name, part in parts.items() if part is not None}


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
    """

    model: Downscaler | Ensemble
    metadata: dict[str, Any] = field(default_factory=dict)
    statics: Statics | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    path: str = ""
    identity: str = ""

    @classmethod
    def from_pretrained(cls, name: str, revision: str | None = None) -> Bundle:
        """Load a bundle of the Hugging Face Hub, from its cache where that has it.

        Parameters
        ----------
        name : str
            Repository, `org/name`.
        revision : str, optional
            Commit, tag or branch; a commit stays what it is. None: the newest commit.

        Raises
        ------
        InputError
            If there is none, it cannot be fetched, or it is damaged.
        """
        return load_bundle(at(name, revision))

    def push_to_hub(
        self,
        name: str,
        *,
        license: str | None = None,
        private: bool | None = None,
        message: str = "A bundle of orbitlite",
    ) -> str:
        """Push the bundle to the Hugging Face Hub, as one commit.

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
    _check_finite(model)
    files = {MODEL: save_tensors({k: v.contiguous() for k, v in model.state_dict().items()})}
    if statics is not None:
        files[STATICS] = save_tensors(
            {name: part.contiguous() for name, part in statics.tensors().items()}
        )
    record = {
        "format": FORMAT,
        "config": model.config.to_dict(),
        "metadata": dict(metadata),
        "scores": dict(scores or {}),
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


def _check_finite(model: Downscaler) -> None:
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
    if foreign := sorted(visible - {CONFIG, MODEL, STATICS, CARD}):
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
        if STATICS not in files:
            (path / STATICS).unlink(missing_ok=True)
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


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check that its files are whole and unchanged.

    Parameters
    ----------
    path : str or Path
        Local directory, any fsspec URL, or `hf://org/name@revision` of the Hugging Face Hub.

    Returns
    -------
    Bundle
        The model in evaluation mode, on the CPU.

    Raises
    ------
    InputError
        If there is no bundle, a file is missing or changed, or its format is newer.
    """
    named = str(path)
    if is_hub(path):
        path, named = fetched(named, FILES)
        check_fetched(named, path, [CONFIG])
    record = read_record(path)
    digests = record["sha256"]
    if MODEL not in digests:
        raise InputError(f"{path}: {CONFIG} does not list {MODEL}; export the model again")
    config = config_of(path, record)
    if is_hub(named):
        check_fetched(named, Path(path), digests)
    weights = read_tensors(path, MODEL, digests[MODEL], fitting(path, config))
    check_unchanged(path, record)  # what a change breaks was told before
    model = Downscaler(config)
    model.load_state_dict(weights)
    check_weights(path, model)
    statics = _read_statics(path, digests[STATICS], config) if STATICS in digests else None
    identity = digests[MODEL][:12]
    return Bundle(model.eval(), record["metadata"], statics, record["scores"], named, identity)


def _read_statics(path: str | Path, digest: str, config: DownscalerConfig) -> Statics:
    count = len(config.statics)

    def check(shapes: Shapes) -> None:
        _, height, width = (0, 0, 0, *shapes.get("values", ()))[-3:]
        values = {"values": (count, height, width)}
        edges = {"lat_edges": (height + 1,), "lon_edges": (width + 1,)}
        corners = {"corners": (height + 1, width + 1, 2)}
        if dict(shapes) not in (values | edges, values | corners) or not height or not width:
            raise InputError(
                f"{path}: {STATICS} does not hold {count} fields and the edges of their cells; "
                "export the model again"
            )

    statics = Statics(**read_tensors(path, STATICS, digest, check))
    if not _plausible(statics):
        raise InputError(
            f"{path}: the edges of the cells of {STATICS} are no latitudes from north to south and "
            "longitudes from west to east; export the model again"
        )
    return statics


def _plausible(statics: Statics) -> bool:
    if statics.corners is not None:
        corners = statics.corners
        return bool(corners.isfinite().all()) and float(corners[..., 0].abs().max()) < 90.001
    assert statics.lat_edges is not None
    assert statics.lon_edges is not None
    south, east = statics.lat_edges.flip(0), statics.lon_edges
    rising = all(bool((edges.diff() > 0).all()) for edges in (south, east))
    finite = all(bool(edges.isfinite().all()) for edges in (south, east))
    return rising and finite and float(south.abs().max()) < 90.001


def load_mean(paths: Sequence[str | Path]) -> Bundle:
    """Read several bundles as one whose model is the mean of theirs.

    Parameters
    ----------
    paths : sequence of str or Path
        Local directories or fsspec URLs.

    Returns
    -------
    Bundle
        With statics and metadata of the first, no scores, and the identities of all. Its ranges
        of training are those that are within the ranges of every one that has any recorded.

    Raises
    ------
    InputError
        If one cannot be read, or they are not of one task and one region.
    """
    bundles = [load_bundle(path) for path in paths]
    model = Ensemble([bundle.model for bundle in bundles if isinstance(bundle.model, Downscaler)])
    first = bundles[0]
    for bundle in bundles[1:]:
        if not _same_statics(first.statics, bundle.statics):
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
    )


def _with_common_ranges(bundles: Sequence[Bundle]) -> dict[str, Any]:
    """Return the metadata of the first; beyond its ranges is what is so for any of the bundles."""
    metadata = bundles[0].metadata
    known = [ranges for bundle in bundles if (ranges := ranges_of(bundle.metadata))]
    if not known:
        return metadata
    common = {
        name: [max(part[name][0] for part in known), min(part[name][1] for part in known)]
        for name in known[0]
        if all(name in part for part in known)
    }
    return metadata | {"training": metadata.get("training", {}) | {"ranges": common}}


def _same_statics(one: Statics | None, other: Statics | None) -> bool:
    if one is None or other is None:
        return one is other
    ours, theirs = one.tensors(), other.tensors()
    return ours.keys() == theirs.keys() and all(
        torch.equal(torch.nan_to_num(part), torch.nan_to_num(theirs[name]))
        for name, part in ours.items()
    )
