"""Options of a prediction: the one list of them, for Python and for the command line."""

from __future__ import annotations

import argparse
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, get_args

from orbitlite.data.tiles import TilePlan
from orbitlite.errors import InputError
from orbitlite.inference.parts import AUTO, Part, PartLike
from orbitlite.inference.statistics import statistics_of
from orbitlite.renamed import current

if TYPE_CHECKING:
    from typing import TypeAlias

    from orbitlite.data.regrid import Method
    from orbitlite.data.source import Source as OneSource

    Source: TypeAlias = OneSource | Sequence[OneSource]

Function = TypeVar("Function", bound=Callable[..., Any])

_METHODS = ("linear", "conservative")
Precision = Literal["float32", "bf16"]
_PRECISIONS = get_args(Precision)
_SECTION = "Parameters\n----------\n"


def _budget(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _command(text: str, **argument: Any) -> dict[str, Any]:
    """State the help of an option on the command line, and what its parser needs."""
    return {"help": text, **argument}


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What a prediction can be told.

    Parameters
    ----------
    task : str, optional
        Which of several tasks of the model, by name. None: the only one.
    statics : source, optional
        Fine static fields, where the model's own do not cover the region.
    accumulation_period : str, optional
        Accumulation period of amounts whose source does not state it, such as `1h`.
    resample : str, optional
        Window such as `24h` over which sub-daily amounts are summed and other channels averaged;
        `24h+9h` for days that begin at 09 UTC. None: as in the training of the model.
    between : str, optional
        First and last time to predict, as far as they are stated: `1990-01/1999-12`. None: all.
    regrid : {"linear", "conservative"}, optional
        Interpolate fields whose cells are not those of the statics onto them. None: as in the
        training of the model.
    tile, halo : int, optional
        Coarse cells of a tile's core along one axis, and of context on each side. None: the whole
        grid at once, or tiles if it is large; a halo of 4 patches, and no less than what the
        decoder's convolutions look at.
    tokens : int or float, optional
        Leaf budget of the spatial compression, a count or a share of the patches in (0, 1]. None:
        that of the model.
    batch_size : int, optional
        Windows per pass through the network: steps, or tiles side by side. None: what memory
        allows, at most 8 on a CPU and 64 on a GPU.
    device : str, optional
        `cpu`, `cuda`...; None: a GPU if there is one.
    precision : {"float32", "bf16"}
        In which the network multiplies; bf16 is for devices that have units for it. What enters and
        leaves it, normalisation and constraints are in float32 in any case.
    members : int, optional
        Members of an ensemble that a stochastic model draws; the output has a dimension
        `realization`. Member 7 of 50 is member 7 of 10. None: the first alone, without the
        dimension.
    seed : int
        Of the ensemble: another one gives other members. The same seed gives the same fields,
        however the prediction is cut, ordered or interrupted.
    statistics : str or sequence of str, optional
        What is said of the members in place of them, without keeping them: `mean`, `std`, `min`,
        `max`, quantiles in per cent such as `q05`, `q99.9`, and probabilities of more or less than
        an amount in the target's unit, `p_gt_20`, `p_lt_1`; a list, or a text with commas. The
        output has a variable for each, called `TARGET_NAME`; the mean alone is called as the
        target. Of 16 members unless `members` says otherwise.
    fill : bool
        Predict cells of which the inputs say nothing too, from what is usual and from their
        surroundings. By default the output is missing where the coarse target is (of a model that
        takes it as input), and where every input that changes with time is missing over a patch.
    progress : bool
        Show a progress bar on a terminal.

    Raises
    ------
    InputError
        If a value is none that it can be.
    """

    task: str | None = field(
        default=None, metadata=_command("task of a model that has several", metavar="NAME")
    )
    statics: Source | None = field(
        default=None, metadata=_command("fine static fields of another region", metavar="FILE")
    )
    accumulation_period: str | None = field(
        default=None, metadata=_command("accumulation period of amounts, such as 1h")
    )
    resample: str | None = field(
        default=None,
        metadata=_command(
            "sum or average sub-daily fields over windows such as 24h, or 24h+9h from 09 UTC",
            metavar="WINDOW",
        ),
    )
    between: str | None = field(
        default=None,
        metadata=_command("times to predict, such as 1990-01/1999-12", metavar="FIRST/LAST"),
    )
    regrid: Method | None = field(
        default=None,
        metadata=_command("bring fields of another grid onto the model's", choices=_METHODS),
    )
    tile: int | None = field(
        default=None, metadata=_command("coarse cells of a tile along one axis", type=int)
    )
    halo: int | None = field(
        default=None, metadata=_command("coarse cells of context around a tile", type=int)
    )
    tokens: float | None = field(
        default=None,
        metadata=_command(
            "leaf budget: a count, or a share such as 0.25", type=_budget, metavar="N"
        ),
    )
    batch_size: int | None = field(
        default=None,
        metadata=_command(
            "windows per pass: steps, or tiles side by side (default: what memory allows)",
            type=int, metavar="N",
        ),
    )  # fmt: skip
    device: str | None = field(
        default=None, metadata=_command("cpu, cuda, ... (default: a GPU if there is one)")
    )
    precision: Precision = field(
        default="float32",
        metadata=_command(
            "in which the network multiplies (default: float32)",
            choices=_PRECISIONS, default="float32",
        ),
    )  # fmt: skip
    members: int | None = field(
        default=None,
        metadata=_command(
            "members of an ensemble, of a model that draws them (default: one)",
            type=int, metavar="M",
        ),
    )  # fmt: skip
    seed: int = field(
        default=0,
        metadata=_command("of the ensemble (default: 0)", type=int, default=0, metavar="N"),
    )
    statistics: str | Sequence[str] | None = field(
        default=None,
        metadata=_command(
            "of the members in place of them, such as mean,std,q05,q95,p_gt_20", metavar="NAMES"
        ),
    )
    fill: bool = field(
        default=False,
        metadata=_command(
            "predict cells of which the inputs say nothing too (default: missing)",
            action="store_true",
        ),
    )
    progress: bool = True

    def __post_init__(self) -> None:
        TilePlan(1, 1, self.tile, self.halo or 0)
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"batch_size should be 1 or more, not {self.batch_size}.")
        self._check_whole("members", 1, optional=True)
        self._check_whole("seed", 0)
        for one in statistics_of(self.statistics):
            if one.spreads and self.members == 1:
                raise InputError(f"statistics: {one.name} needs 2 members or more, found 1")
        if self.regrid not in (None, *_METHODS):
            raise InputError(
                f"regrid: expected one of {', '.join(_METHODS)}, found {self.regrid!r}"
            )
        if self.precision not in _PRECISIONS:
            raise InputError(
                f"precision: expected one of {', '.join(_PRECISIONS)}, found {self.precision!r}"
            )

    def _check_whole(self, name: str, least: int, optional: bool = False) -> None:
        value = getattr(self, name)
        kind = isinstance(value, Integral) and not isinstance(value, bool)
        whole = kind and int(value) >= least
        if not whole and not (optional and value is None):
            raise InputError(f"{name}: expected a whole number of {least} or more, found {value!r}")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Take the keywords of a call.

        Raises
        ------
        TypeError
            If there is no option of a name.
        """
        options = current(options)
        known = [option.name for option in fields(cls)]
        for name in options:
            if name not in known and name in [option.name for option in fields(FileOptions)]:
                raise TypeError(
                    f"there is no option {name!r} of a prediction in memory; downscale, which "
                    "writes a file, has it"
                )
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise TypeError(f"there is no option {name!r}; {hint}")
        return cls(**options)


@dataclass(frozen=True, kw_only=True)
class FileOptions(PredictOptions):
    """What a prediction into a file can be told, beside what any can.

    Parameters
    ----------
    resume : bool
        Go on with an output whose making was interrupted; begin it if there is none. Tile, halo
        and batch are those of the job that is gone on with.
    overwrite : bool
        Replace what stands there, finished or not. Every part of a run is told so: the first one
        begins, the others join it. A part that is started once more while others are at work, or
        after they have written theirs in the same way, is the only one that starts over.
    part : str or pair of int, optional
        Write one of several parts of the output, such as `2/4` or (2, 4), while other processes,
        here or on other machines, write the others; the last one that is finished gives the output
        its name. A part that was interrupted is gone on with by `resume`. `auto`: the part that
        torchrun or srun has given this process. None: all.
    """

    resume: bool = field(
        default=False,
        metadata=_command("go on with an OUT whose making was interrupted", action="store_true"),
    )
    overwrite: bool = field(
        default=False, metadata=_command("replace OUT if it exists", action="store_true")
    )
    part: PartLike | None = field(
        default=None,
        metadata=_command(
            "write one part of several, other processes the others: 2/4, or auto for that of "
            "torchrun and srun",
            metavar="I/N",
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.part not in (None, AUTO):
            Part.of(self.part)

    def going_on(self, job: Mapping[str, Any]) -> Self:
        """Take tile, halo and batch of a job that is gone on with, where no others are stated."""
        return replace(
            self,
            tile=job.get("tile") if self.tile is None else self.tile,
            halo=job.get("halo") if self.halo is None else self.halo,
            batch_size=job.get("batch") if self.batch_size is None else self.batch_size,
        )


class PredictKeywords(TypedDict, total=False):
    """The options of `PredictOptions`, for checkers of types."""

    task: str | None
    statics: Source | None
    accumulation_period: str | None
    resample: str | None
    between: str | None
    regrid: Method | None
    tile: int | None
    halo: int | None
    tokens: float | None
    batch_size: int | None
    device: str | None
    precision: Precision
    members: int | None
    seed: int
    statistics: str | Sequence[str] | None
    fill: bool
    progress: bool


class FileKeywords(PredictKeywords, total=False):
    """The options of `FileOptions`, for checkers of types."""

    resume: bool
    overwrite: bool
    part: PartLike | None


def shows(options: type[PredictOptions]) -> Callable[[Function], Function]:
    """Let `**options` of a function be listed one by one in its signature and its docstring.

    Parameters
    ----------
    options : type
        `PredictOptions` or `FileOptions`.
    """
    keywords = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default,
                          annotation=one.type)
        for one in fields(options)
    ]  # fmt: skip
    told = [inspect.cleandoc(str(kind.__doc__)) for kind in reversed(options.__mro__[:-1])]
    entries = "".join(
        text.partition(_SECTION)[2].partition("\n\n")[0].rstrip() + "\n" for text in told
    )

    def show(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [one for one in signature.parameters.values() if one.kind != one.VAR_KEYWORD]
        shown: Any = function
        shown.__signature__ = signature.replace(parameters=[*own, *keywords])
        if function.__doc__:  # none with python -OO
            indent = function.__doc__.partition("**options\n")[0].rpartition("\n")[2]
            listed = textwrap.indent(entries, indent)
            function.__doc__ = function.__doc__.replace(f"{indent}**options\n", listed)
        return function

    return show


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a prediction into a file to a command."""
    for name, argument in _arguments():
        flag = argument.pop("flag", f"--{name.replace('_', '-')}")
        parser.add_argument(flag, dest=name, **argument)


def keywords_of(arguments: argparse.Namespace) -> FileKeywords:
    """Return what a command was told, as keywords."""
    found: Any = {name: getattr(arguments, name) for name, _ in _arguments()}
    keywords: FileKeywords = found
    return keywords


def _arguments() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name the options that a command has, with what its parser is told of each."""
    return ((one.name, dict(one.metadata)) for one in fields(FileOptions) if one.metadata)
