"""`orbitlite demo`: the whole way on the embedded world, in one folder."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
from pathlib import Path

from orbitlite.errors import InputError

logger = logging.getLogger(__name__)

# What a demo makes, and a later one in the same folder takes away.
_MARK = ".orbitlite-demo"
_FILES = ("world.nc", "config.yaml", "own_data.yaml", "coarse.nc", "prediction.nc")
_FOLDERS = ("bundle", "checkpoints", "logs", "report")

_MEMBERS = 10

_CONFIG = """\
# {purpose}
# Written by `orbitlite demo`. {command}
seed_everything: 0
trainer:
  default_root_dir: {root}
  max_epochs: {epochs}
model:
  loss: crps
  loss_space: physical
  mirror: true
  optimisation: {{lr: 2.0e-3, weight_decay: 0.05, betas: [0.9, 0.99], warmup: 0.1}}
  network:
    inputs: [total_precipitation_24hr, 2m_temperature, 10m_u_component_of_wind,
      10m_v_component_of_wind, mean_sea_level_pressure, temperature_850, temperature_500,
      specific_humidity_850, specific_humidity_500, u_component_of_wind_850,
      v_component_of_wind_850, u_component_of_wind_500, v_component_of_wind_500,
      geopotential_850, geopotential_500]
    targets: [total_precipitation_24hr]
    statics: [orography, land_sea_mask]
    factor: 4
    patch_size: 1
    embed_dim: 96
    depth: 0
    num_heads: 4
    decoder_features: 64
    decoder_blocks: 2
    noise: 4
data:
  fine: {fine}
  batch_size: 4
"""

_PERIODS = """\
  train: ["2000-01-01", "2000-10-31"]
  validate: ["2000-11-01", "2000-11-30"]
  test: ["2000-12-01", "2001-02-03"]
"""

_HINTS = """\
# A file of your own rarely has all of this: inputs that it lacks are masked; take statics that it
# lacks out of model.network.statics, or name a file that has them (data.statics). It is coarsened
# by `factor`; where you have a coarse source as well, state it (coarse: FILE). With no periods
# stated the times are divided in order: 70 % train, 15 % validate, 15 % test.
"""


def run(out: str | Path, days: int = 400, epochs: int = 12) -> int:
    """Generate, fit, predict, evaluate; leave everything in `out`.

    Parameters
    ----------
    out : str or Path
        Folder; an earlier demo in it is replaced.
    days : int
        Length of the world; the test period begins after 335 days.
    epochs : int
        Passes over the training period.

    Returns
    -------
    int
        0.

    Raises
    ------
    InputError
        If the folder holds something else or cannot be written.
    """
    from rich.console import Console

    folder = _clean_folder(Path(out))
    logger.info("1/4 Generating %d days of a synthetic world", days)
    _generate(folder / "world.nc", days)
    _write_configs(folder, epochs)
    logger.info("2/4 Training on the first ten months")
    _fit(folder / "config.yaml")
    logger.info("3/4 Drawing %d members of the test period from the coarse fields", _MEMBERS)
    _predict(folder)
    logger.info("4/4 Scoring it beside the baselines")
    table = _evaluate(folder)
    console = Console()
    console.print(table)
    console.print(_farewell(folder), highlight=False, soft_wrap=True)
    return 0


def _generate(path: Path, days: int) -> None:
    from rich.console import Console

    from orbitlite.data.world import generate
    from orbitlite.inference.writer import write

    with Console(stderr=True).status("Generating"):
        write(generate(days=days), path)


def _write_configs(folder: Path, epochs: int) -> None:
    config, own = folder / "config.yaml", folder / "own_data.yaml"
    # JSON quotes any path in a way that YAML reads
    demo = _CONFIG.format(
        purpose="The demo: a synthetic ERA5-style world, 16x32 coarse cells to 64x128 fine ones.",
        command=f"Again: orbitlite fit -c {shlex.quote(str(config))}",
        root=json.dumps(str(folder)),
        fine=json.dumps(str(folder / "world.nc")),
        epochs=epochs,
    )
    config.write_text(demo + _PERIODS, encoding="utf-8")
    yours = _CONFIG.format(
        purpose="Your own data, with the network of the demo: one fine file, coarsened four-fold.",
        command=f"Use: orbitlite fit -c {shlex.quote(str(own))} --data.fine YOUR_FINE.nc",
        root="runs/own_data",
        fine="YOUR_FINE.nc",
        epochs=epochs,
    )
    own.write_text(yours + _HINTS, encoding="utf-8")


def _fit(config: Path) -> None:
    from orbitlite.training.cli import main as train

    train(["fit", "-c", str(config)])


def _predict(folder: Path) -> None:
    from orbitlite.api import load, predict
    from orbitlite.inference.writer import write
    from orbitlite.training.sources import data_of_config

    coarse = data_of_config(folder / "config.yaml").coarse_dataset("test").load()
    write(coarse, folder / "coarse.nc")
    bundle = load(folder / "bundle")
    write(predict(coarse, bundle, members=_MEMBERS), folder / "prediction.nc")


def _evaluate(folder: Path) -> object:
    """Score the files as `orbitlite evaluate` does; return the table."""
    from orbitlite.api import evaluate
    from orbitlite.model.bundle import load_bundle, save_bundle
    from orbitlite.model.downscaler import Downscaler
    from orbitlite.training.sources import data_of_config

    data = data_of_config(folder / "config.yaml")
    found = evaluate(
        folder / "prediction.nc",
        folder / "world.nc",
        coarse=folder / "coarse.nc",
        training=(data.coarse_dataset("train"), data.fine_dataset("train")),
    )
    found.report(folder / "report")
    bundle = load_bundle(folder / "bundle")
    assert isinstance(bundle.model, Downscaler)
    save_bundle(
        folder / "bundle",
        bundle.model,
        metadata=bundle.metadata,
        statics=bundle.statics,
        scores=found.scores,
    )
    return found.table()


def _clean_folder(folder: Path) -> Path:
    """Make the folder, without what an earlier demo left in it."""
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
            raise InputError(
                f"{folder} holds something that is not a demo; choose another folder with --out"
            )
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        for name in _FOLDERS:
            if (folder / name).exists():
                shutil.rmtree(folder / name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    return folder


def _farewell(folder: Path) -> str:
    from orbitlite.tables import marked

    own = marked(shlex.quote(str(folder / "own_data.yaml")))
    return (
        f"\nEverything is in [bold]{marked(str(folder.resolve()))}[/bold]:\n"
        "  prediction.nc   ten members, fine        bundle/         the model\n"
        "  report/         scores and pictures      own_data.yaml   settings for your own data\n\n"
        "Next, with a fine file of your own (NetCDF, Zarr, GRIB, any URL):\n"
        f"  orbitlite fit -c {own} --data.fine YOUR_FINE.nc\n"
        "and from then on, with coarse files of its region:\n"
        "  orbitlite downscale COARSE.nc FINE.nc --model runs/own_data/bundle\n"
    )
