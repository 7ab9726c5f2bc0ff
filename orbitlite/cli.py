"""The `orbitlite` command."""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from orbitlite import plan
from orbitlite.benchmark import (
    channels,
    compression,
    context,
    ensembles,
    scaling,
    skill,
    tiles,
    transfer,
)
from orbitlite.cordex import command as cordex
from orbitlite.errors import InputError
from orbitlite.inference.options import add_options, keywords_of
from orbitlite.notice import OrbitliteWarning, one_call
from orbitlite.renamed import current_words
from orbitlite.suggest import did_you_mean
from orbitlite.terminal import one_line, visible

if TYPE_CHECKING:
    import xarray as xr

    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

logger = logging.getLogger("orbitlite")

# Columns of a table that is read by another program: a row stays on a line.
_WIDE = 500

# What is heavy is imported when a command runs, so that --help answers at once.

TRAINER = {
    "fit": "train a network from a config",
    "validate": "scores of the validation period, from a config and a checkpoint",
    "test": "scores of the test period, from a config and a checkpoint",
    "predict": "predict the config's predict period into a file of the run's folder",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        None: those of the process.

    Returns
    -------
    int
        0: done. 2: a mistake that the message names. 130: interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Threads that wait sleep, read when torch is loaded: where others need the CPUs too, those that
    # spin keep the ones off that they wait for.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with one_call(), warnings.catch_warnings():
            # The log says it.
            warnings.simplefilter("ignore", OrbitliteWarning)
            warnings.showwarning = _visibly(warnings.showwarning)
            status = _run(words)
        sys.stdout.flush()
    except InputError as error:
        if not error.told:
            sys.stderr.write(f"orbitlite: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("orbitlite: interrupted\n")
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head) left; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def command() -> NoReturn:
    """Run the command line of this process, and end it with its status."""
    ended: list[int] = []
    atexit.register(_end, ended)  # before what is heavy registers anything, so that it comes last
    ended.append(main())
    sys.exit(ended[0])


def _end(ended: list[int]) -> None:
    """End a process that had others to speak to.

    A thread of the group may still let go of a tensor; while the interpreter is torn down, that
    aborts the process, whatever its status. There is nothing left to tear down.
    """
    dist = sys.modules.get("torch.distributed")
    if ended and dist is not None and dist.is_available() and dist.is_initialized():
        if ended[0] != 2:  # of a mistake, the others may not know yet: they would be waited for
            dist.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended[0])


def _run(words: list[str]) -> int:
    words = _imported(words)
    if words and words[0] in TRAINER:
        _set_up_logging(logging.INFO)
        from orbitlite.training.cli import main as trainer_main

        return trainer_main(words)
    words = current_words(words)
    parser = _parser(words)
    options, others = parser.parse_known_args(words)
    if "others" in options:
        options.others = others  # of a command that hands them on
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    level = logging.DEBUG if options.verbose else logging.INFO
    _set_up_logging(logging.WARNING if options.quiet else level)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _imported(words: list[str]) -> list[str]:
    """Import the modules that `--import` names, in front of a command or behind it.

    It is the only way by which a command runs code of the user: no config, checkpoint or bundle
    can ask for it.

    Returns
    -------
    list of str
        The other words.
    """
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        option, equal, name = word.partition("=")
        if option != "--import":
            kept.append(word)
            continue
        name = name if equal else next(rest, "")
        if not all(map(str.isidentifier, name.split("."))):
            raise InputError(f"--import: expected the name of a module, found {name!r}")
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name and not name.startswith(f"{error.name}."):
                raise
            raise InputError(
                f"--import: there is no module {name}; install its package, or put the folder that "
                "holds it on PYTHONPATH"
            ) from error
    return kept


class _Parser(argparse.ArgumentParser):
    """A parser that shows the words it complains of visibly."""

    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


def _parser(words: list[str]) -> argparse.ArgumentParser:
    from importlib.metadata import version

    parser: argparse.ArgumentParser = _Parser(
        prog="orbitlite",
        description="Climate downscaling: coarse fields in, fine precipitation out.",
        epilog="Each command has --help of its own.",
    )
    parser.add_argument(
        "--import", metavar="MODULE",
        help="import a Python module of yours first, which registers a trunk, a loss, ...",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"orbitlite {version('orbitlite')}")
    commands = parser.add_subparsers(title="commands", metavar="<command>", required=True)
    _add_demo(commands)
    for name, text in TRAINER.items():
        commands.add_parser(name, help=text, add_help=False)
    for add in (
        _add_downscale, _add_evaluate, _add_export, _add_info, _add_statistics, _add_benchmark,
        _add_cordex, _add_plan, _add_variables,
    ):  # fmt: skip
        add(commands)
    if words and not words[0].startswith("-") and words[0] not in commands.choices:
        hint = did_you_mean(words[0], commands.choices, "; see orbitlite --help for those known")
        raise InputError(f"unknown command {words[0]!r}{hint}")
    return parser


def _command(
    commands: Commands, name: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    talk = parser.add_mutually_exclusive_group()
    talk.add_argument("-v", "--verbose", action="store_true", help="say more, with time and source")
    talk.add_argument("-q", "--quiet", action="store_true", help="say only what is wrong")
    parser.set_defaults(run=run)
    return parser


def _add_demo(commands: Commands) -> None:
    text = "the whole way on the embedded world: fit, predict, scores, pictures"
    parser = _command(commands, "demo", text, _demo)
    parser.add_argument("--out", default="runs/demo", help="folder (default: %(default)s)")


def _demo(options: argparse.Namespace) -> int:
    from orbitlite.demo import run

    return run(options.out)


def _add_downscale(commands: Commands) -> None:
    parser = _command(commands, "downscale", "downscale a file with a model", _downscale)
    parser.add_argument("input", metavar="IN", help="coarse fields: path, URL or glob")
    parser.add_argument("output", metavar="OUT", help="file to write, .nc or .zarr")
    parser.add_argument(
        "--model", required=True, action="append", metavar="BUNDLE",
        help="path or URL of a bundle, or hf://org/name@revision; repeated: the mean of several",
    )  # fmt: skip
    add_options(parser)


def _downscale(options: argparse.Namespace) -> int:
    from orbitlite.api import downscale

    models = options.model if len(options.model) > 1 else options.model[0]
    keywords = keywords_of(options)
    keywords["progress"] = not options.quiet
    flow = downscale(options.input, options.output, models, **keywords)
    sizes = " x ".join(f"{size} {dim}" for dim, size in flow.sizes.items())
    if flow.lacking:
        others = ", ".join(map(str, flow.lacking))
        logger.info(
            "Wrote part %s of %s; it gets its name when %s are written too",
            flow.part, options.output, others,
        )  # fmt: skip
        return 0
    logger.info("Wrote %s (%s)", options.output, sizes)
    return 0


def _add_evaluate(commands: Commands) -> None:
    parser = _command(commands, "evaluate", "score a prediction beside the baselines", _evaluate)
    parser.add_argument("prediction", metavar="PREDICTION", help="path, URL or glob")
    parser.add_argument("truth", metavar="TRUTH", help="path, URL or glob")
    parser.add_argument("--coarse", metavar="FILE", help="the coarse input, for the baselines")
    parser.add_argument(
        "--training", metavar="CONFIG",
        help="config of the fit: its data give the coarse input and the quantile mapping",
    )  # fmt: skip
    parser.add_argument("--task", metavar="NAME", help="task of that fit, if it has several")
    parser.add_argument("--accumulation-period", help="accumulation period of amounts, such as 1h")
    _add_declaration(parser)
    parser.add_argument(
        "--regrid", choices=("linear", "conservative"),
        help="bring a coarse input of another grid onto blocks of fine cells, for the baselines",
    )  # fmt: skip
    parser.add_argument(
        "--resample", metavar="WINDOW",
        help="windows of the prediction, such as 24h or 24h+9h, to which the truth is brought",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the scores")
    parser.add_argument("--report", metavar="DIR", help="write scores and pictures")


def _evaluate(options: argparse.Namespace) -> int:
    from rich.console import Console

    from orbitlite.api import evaluate
    from orbitlite.data.source import files_of
    from orbitlite.verification.report import check_places

    _declare(options)
    inputs = [options.prediction, options.truth, *([options.coarse] if options.coarse else [])]
    configs = [path for path in (options.training, options.variables) if path]
    check_places(options.json, options.report, [*files_of(inputs), *configs])
    coarse: str | xr.Dataset | None = options.coarse
    training = None
    if options.training:
        from orbitlite.training.sources import data_of_config

        data = data_of_config(options.training)
        data.choose(options.task, "--task")
        read = [path for part in data.parts.values() for path in part.files()]
        check_places(options.json, options.report, read)
        training = (data.coarse_dataset("train"), data.fine_dataset("train"))
        coarse = data.all_coarse() if coarse is None else coarse
    found = evaluate(
        options.prediction, options.truth, coarse=coarse, training=training,
        accumulation_period=options.accumulation_period, resample=options.resample,
        regrid=options.regrid,
    )  # fmt: skip
    Console().print(found.table())
    if options.json:
        found.to_json(options.json)
    if options.report:
        found.report(options.report)
    return 0


def _add_export(commands: Commands) -> None:
    parser = _command(commands, "export", "turn a training checkpoint into a bundle", _export)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=".ckpt of a fit")
    parser.add_argument("bundle", metavar="BUNDLE", help="folder or URL to write")


def _export(options: argparse.Namespace) -> int:
    from orbitlite.training.provenance import export

    export(options.checkpoint, options.bundle)
    logger.info("Wrote the bundle %s", options.bundle)
    return 0


def _add_statistics(commands: Commands) -> None:
    text = "sum up the training period of a config into a file, for its fits (data.statistics)"
    parser = _command(commands, "statistics", text, _statistics)
    parser.add_argument("-c", "--config", required=True, metavar="FILE", help="config of a fit")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="JSON to write")


def _statistics(options: argparse.Namespace) -> int:
    from orbitlite.data.known_statistics import check_place, write_statistics
    from orbitlite.training.sources import data_of_config

    check_place(options.output, [options.config])
    data = data_of_config(options.config)
    check_place(options.output, [path for part in data.parts.values() for path in part.files()])
    for part in data.parts.values():
        part.statistics = None  # those that are in the file are what is made anew
    data.setup("fit")
    write_statistics(options.output, data.parts)
    logger.info("Wrote the statistics %s", options.output)
    return 0


def _add_info(commands: Commands) -> None:
    parser = _command(commands, "info", "tell what is in a bundle or a checkpoint", _info)
    parser.add_argument("model", metavar="BUNDLE", help="bundle (path or URL) or .ckpt of a fit")


def _info(options: argparse.Namespace) -> int:
    from rich.console import Console

    from orbitlite.info import info

    Console().print(info(options.model))
    return 0


def _add_benchmark(commands: Commands) -> None:
    parser = commands.add_parser("benchmark", help="measure against reference formulations")
    kinds = parser.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    for module in (channels, compression, tiles, scaling, skill, ensembles, context, transfer):
        one = module.BENCHMARK
        run = scaling.main if module is scaling else one.main
        module.add_arguments(_command(kinds, one.name, one.text, run))


def _add_cordex(commands: Commands) -> None:
    parser = commands.add_parser("cordex-bench", help=cordex.TEXT)
    steps = parser.add_subparsers(title="steps", metavar="NAME", required=True)
    for step in cordex.STEPS:
        step.add_arguments(_command(steps, step.name, step.text, step.run))


def _add_plan(commands: Commands) -> None:
    text = "memory and time of a config on a cluster, and the flags to run it with; on paper"
    plan.add_arguments(_command(commands, "plan", text, plan.main))


def _add_variables(commands: Commands) -> None:
    text = "list the variables that are known: names, units, transforms, limits"
    parser = _command(commands, "variables", text, _variables)
    parser.add_argument("word", metavar="WORD", nargs="?", default="", help="part of a name")
    _add_declaration(parser)


def _add_declaration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variables", metavar="FILE",
        help="variables of your own: YAML as in model.network.variables, or the config of a fit",
    )  # fmt: skip


def _variables(options: argparse.Namespace) -> int:
    from rich.console import Console

    from orbitlite.listing import listing

    _declare(options)
    console = Console()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(listing(options.word))
    return 0


def _declare(options: argparse.Namespace) -> None:
    """Make the variables known that a command is told of."""
    if options.variables is not None:
        from orbitlite.variables import declare_variables

        declare_variables(options.variables)


class _Lines(logging.Formatter):
    """Write a message on one line, without signs that a terminal obeys."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = one_line(record.message)
        return super().formatMessage(record)


def _visibly(show: Callable[..., None]) -> Callable[..., None]:
    """Return what shows a warning as `show` does, without signs that a terminal obeys."""

    def shown(message: Warning | str, *args: Any, **options: Any) -> None:
        text = str(message)
        plain = visible(text)
        show(message if plain == text else plain, *args, **options)

    return shown


def _set_up_logging(level: int) -> None:
    """Log to standard error: in colour on a terminal, whole lines in a file."""
    handler: logging.Handler
    text = "%(message)s"
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        detail = level == logging.DEBUG
        handler = RichHandler(
            console=Console(stderr=True), show_time=detail, show_path=detail, show_level=detail
        )
    else:
        handler = logging.StreamHandler(sys.stderr)
        if level == logging.DEBUG:
            text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(_Lines(text))
    logger.handlers = [handler]
    logger.setLevel(level)


if __name__ == "__main__":
    command()
