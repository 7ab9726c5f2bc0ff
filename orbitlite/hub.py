"""Hub: bundles of the Hugging Face Hub, fetched into its cache and pushed, a commit each.

Only the files that a bundle consists of are fetched; what they hold is checked where they are read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from orbitlite.errors import InputError
from orbitlite.notice import notice

logger = logging.getLogger(__name__)

PREFIX = "hf://"
LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
"""An identifier of the Hub or of SPDX, such as apache-2.0."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")
_COMMIT = re.compile("[0-9a-f]{40}")
_PATIENCE = 10.0  # seconds in which the Hub has to answer


def is_hub(path: str | Path) -> bool:
    """Tell whether a path is one of the Hub: `hf://org/name` or `hf://org/name@revision`."""
    return str(path).startswith(PREFIX)


def at(name: str, revision: str | None = None) -> str:
    """Return the path of a repository `org/name` at a revision."""
    return f"{PREFIX}{name}" + ("" if revision is None else f"@{revision}")


def fetched(path: str, files: Sequence[str]) -> tuple[Path, str]:
    """Fetch files of a repository into the cache of the Hub.

    Without a network those of the cache are taken, and it is told. Some may be lacking
    (`check_fetched`).

    Parameters
    ----------
    path : str
        `hf://org/name`, with `@` and a commit, tag or branch, else the newest commit.
    files : sequence of str
        Names of what is fetched, where it is there.

    Returns
    -------
    folder : Path
    path : str
        With the commit that the files are of.

    Raises
    ------
    InputError
        If there is no such repository or revision, it cannot be reached and is not in the cache, or
        huggingface_hub is not installed.
    """
    name, revision = _parts(path)
    hub, errors = _library(path)
    wanted = {"revision": revision, "allow_patterns": list(files)}
    try:
        if not _COMMIT.fullmatch(revision or ""):
            hub.HfApi().model_info(name, revision=revision, timeout=_PATIENCE)
        folder = hub.snapshot_download(name, **wanted)
    except errors.RepositoryNotFoundError as error:
        raise _absent(path, name) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"{path}: the repository {name} has no revision {revision}; expected a commit, a "
            "tag or a branch"
        ) from error
    except Exception as error:  # a connection, the Hub or the disk fails in many ways
        try:
            folder = hub.snapshot_download(name, **wanted, local_files_only=True)
        except Exception as other:
            # Versions of the library differ in whether they give a copy that is not whole.
            folder = getattr(other, "snapshot_path", None)
            if folder is None:
                raise InputError(
                    f"{path} cannot be fetched ({_first_line(error)}), and the cache of the Hub "
                    "has no copy; try again with a network"
                ) from error
        commit = Path(folder).name
        notice(logger, f"{path}: the Hub cannot be reached; the copy of {commit[:12]} is taken.")
    return Path(folder), at(name, Path(folder).name)


def check_fetched(path: str, folder: Path, files: Iterable[str]) -> None:
    """Refuse a copy of the cache whose fetch was cut short and cannot be gone on with.

    What a repository itself lacks is told where it is read.

    Parameters
    ----------
    path : str
        With the commit, as of `fetched`.
    folder : Path
        Where the copy is.
    files : iterable of str
        Names of what is needed.

    Raises
    ------
    InputError
        If one is not there, and the Hub cannot be reached.
    """
    lacking = [file for file in files if not (folder / file).exists()]
    if not lacking:
        return
    name, revision = _parts(path)
    hub, _ = _library(path)
    try:
        hub.HfApi().model_info(name, revision=revision, timeout=_PATIENCE)
    except Exception as error:  # a connection fails in many ways
        raise InputError(
            f"{path}: its copy in the cache of the Hub has no {', '.join(lacking)}: the fetch was "
            f"cut short, and the Hub cannot be reached now ({_first_line(error)}); load it once "
            "with a network"
        ) from error


def pushed(
    folder: Path, name: str, files: Sequence[str], *, private: bool | None, message: str
) -> str:
    """Make the files of a folder those of a repository, in one commit.

    Parameters
    ----------
    folder : Path
    name : str
        `org/name`; created if it is not there.
    files : sequence of str
        Names of what is pushed. Those that the folder lacks are deleted from the repository.
    private : bool, optional
        Of a repository that is created; None: as the organisation's settings say.
    message : str
        Of the commit.

    Returns
    -------
    str
        The path, with the commit.

    Raises
    ------
    InputError
        If the Hub refuses or cannot be reached, or huggingface_hub is not installed.
    """
    path = at(name)
    if not _NAME.fullmatch(name):
        raise InputError(f"expected the name of a repository such as org/name, found {name}")
    hub, errors = _library(path)
    api = hub.HfApi()
    gone = [file for file in files if not (folder / file).exists()]
    try:
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(files), delete_patterns=gone,
            commit_message=message,
        )  # fmt: skip
    except errors.RepositoryNotFoundError as error:
        raise _absent(path, name) from error
    except Exception as error:
        raise InputError(
            f"the bundle cannot be pushed to {path} ({_first_line(error)}); is this machine "
            "logged in (hf auth login), with the right to write there?"
        ) from error
    return at(name, commit.oid)


def _parts(path: str) -> tuple[str, str | None]:
    name, sign, revision = path.removeprefix(PREFIX).partition("@")
    good = _NAME.fullmatch(name) and (not sign or _REVISION.fullmatch(revision))
    if not good or ".." in revision:
        raise InputError(f"{path}: expected hf://org/name or hf://org/name@revision")
    return name, revision or None


def _library(path: str) -> tuple[Any, Any]:
    try:
        return import_module("huggingface_hub"), import_module("huggingface_hub.errors")
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path}: models of the Hub need huggingface_hub: pip install 'orbitlite[hub]'"
        ) from error


def _absent(path: str, name: str) -> InputError:
    return InputError(
        f"{path}: there is no repository {name} on the Hub, or it is not open to you; check the "
        "name, or log in (hf auth login)"
    )


def _first_line(error: Exception) -> str:
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
