"""The `orbitlite` command."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orbitlite.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

TRAINER_COMMANDS = {
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
    try:
        return _run(words)
    except InputError as error:
        print(f"orbitlite: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("orbitlite: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head) left; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(words: list[str]) -> int:
    if words and words[0] in TRAINER_COMMANDS:
        _set_up_logging(logging.INFO)
        from orbitlite.training.cli import main as trainer_main

        return trainer_main(words)
    options = _parser().parse_args(words)
    _set_up_logging(logging.WARNING if options.quiet else logging.INFO)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _parser() -> argparse.ArgumentParser:
    from importlib.metadata import version

    parser = argparse.ArgumentParser(
        prog="orbitlite",
        description="Climate downscaling: coarse fields in, fine precipitation out.",
        epilog="trainer commands (each has --help of its own):\n"
        + "\n".join(f"  {name:<10}{text}" for name, text in TRAINER_COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"orbitlite {version('orbitlite')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_demo, _add_downscale, _add_evaluate, _add_export, _add_info, _add_benchmark):
        add(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    parser.set_defaults(run=run)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "demo",
        "the whole way on the embedded world: fit, predict, scores, pictures",
        _demo,
    )
    parser.add_argument("--out", default="runs/demo", help="folder (default: %(default)s)")


def _demo(options: argparse.Namespace) -> int:
    from orbitlite.demo import run

    return run(options.out)


def _add_downscale(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "downscale", "downscale a file with a model", _downscale)
    parser.add_argument("input", metavar="IN", help="coarse fields: path, URL or glob")
    parser.add_argument("output", metavar="OUT", help="file to write, .nc or .zarr")
    parser.add_argument("--model", required=True, metavar="BUNDLE", help="path or URL of a bundle")
    parser.add_argument("--statics", metavar="FILE", help="fine static fields of another region")
    parser.add_argument("--period", help="accumulation period of amounts, such as 1h")
    parser.add_argument("--batch", type=int, default=8, help="time steps per pass (default: 8)")
    parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU if there is one)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def _downscale(options: argparse.Namespace) -> int:
    from orbitlite.api import load, predict
    from orbitlite.inference.writer import check_output, write

    output = check_output(options.output, options.overwrite)
    fine = predict(
        options.input,
        load(options.model),
        statics=options.statics,
        period=options.period,
        batch_size=options.batch,
        device=options.device,
    )
    write(fine, output, overwrite=options.overwrite)
    sizes = " x ".join(f"{size} {dim}" for dim, size in fine.sizes.items() if dim != "bnds")
    logging.getLogger("orbitlite").info("Wrote %s (%s)", output, sizes)
    return 0


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "evaluate", "score a prediction beside the baselines", _evaluate)
    parser.add_argument("prediction", metavar="PREDICTION")
    parser.add_argument("truth", metavar="TRUTH")
    parser.add_argument("--coarse", metavar="FILE", help="the coarse input, for the baselines")
    parser.add_argument(
        "--training",
        metavar="CONFIG",
        help="config of the fit: its data give the coarse input and the quantile mapping",
    )
    parser.add_argument("--period", help="accumulation period of amounts, such as 1h")
    parser.add_argument("--json", metavar="FILE", help="write the scores")
    parser.add_argument("--report", metavar="DIR", help="write scores and pictures")


def _evaluate(options: argparse.Namespace) -> int:
    from rich.console import Console

    from orbitlite.api import evaluate

    coarse: str | xr.Dataset | None = options.coarse
    training = None
    if options.training:
        from orbitlite.training.sources import data_of_config

        data = data_of_config(options.training)
        training = (data.coarse_dataset("train"), data.fine_dataset("train"))
        coarse = data.all_coarse() if coarse is None else coarse
    found = evaluate(
        options.prediction, options.truth, coarse=coarse, training=training, period=options.period
    )
    Console().print(found.table())
    if options.json:
        found.to_json(options.json)
    if options.report:
        for path in found.report(options.report):
            logging.getLogger("orbitlite").info("Wrote %s", path)
    return 0


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "export", "turn a training checkpoint into a bundle", _export)
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("bundle", metavar="BUNDLE")


def _export(options: argparse.Namespace) -> int:
    from orbitlite.training.provenance import export

    export(options.checkpoint, options.bundle)
    logging.getLogger("orbitlite").info("Wrote the bundle %s", options.bundle)
    return 0


def _add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "info", "tell what is in a bundle", _info)
    parser.add_argument("bundle", metavar="BUNDLE")


def _info(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markdown import Markdown

    from orbitlite.model.bundle import read_card

    Console().print(Markdown(read_card(options.bundle)))
    return 0


def _add_benchmark(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from orbitlite.benchmark import channels

    parser = commands.add_parser("benchmark", help="measure against reference formulations")
    kinds = parser.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    inner = _command(kinds, "channels", "the network against the published one", channels.main)
    channels.add_arguments(inner)


def _set_up_logging(level: int) -> None:
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(
        console=Console(stderr=True), show_time=False, show_path=False, show_level=False
    )
    logger = logging.getLogger("orbitlite")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


if __name__ == "__main__":
    sys.exit(main())
