"""`orbitlite demo`: the whole way on the embedded world, in one folder."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from orbitlite.errors import InputError

logger = logging.getLogger(__name__)

_MARK = ".orbitlite-demo"

_CONFIG = """\
# The demo: a synthetic ERA5-style world, 16x32 coarse cells to 64x128 fine ones.
# Written by `orbitlite demo`; run it again with: orbitlite fit -c {out}/config.yaml
seed_everything: 0
trainer:
  default_root_dir: {out}
  max_epochs: {epochs}
model:
  loss: mse
  loss_space: physical
  optimisation: {{lr: 1.0e-3, weight_decay: 0.05, betas: [0.9, 0.99], warmup: 0.1}}
  network:
    inputs: [total_precipitation_24hr, 2m_temperature, 10m_u_component_of_wind,
      10m_v_component_of_wind, mean_sea_level_pressure, temperature_850, temperature_500,
      specific_humidity_850, specific_humidity_500, u_component_of_wind_850,
      v_component_of_wind_850, u_component_of_wind_500, v_component_of_wind_500,
      geopotential_850, geopotential_500]
    targets: [total_precipitation_24hr]
    fine_statics: [orography, land_sea_mask]
    factor: 4
    patch_size: 1
    embed_dim: 96
    depth: 3
    num_heads: 4
    dropout: 0.05
data:
  fine: {out}/world.nc
  train: ["2000-01-01", "2000-10-31"]
  validate: ["2000-11-01", "2000-11-30"]
  test: ["2000-12-01", "2001-02-03"]
  batch_size: 8
"""


def run(out: str | Path, days: int = 400, epochs: int = 10) -> int:
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
    folder = _clean_folder(Path(out))
    config = folder / "config.yaml"
    config.write_text(_CONFIG.format(out=folder, epochs=epochs))
    logger.info("1/4 Generating %d days of a synthetic world", days)
    _generate(folder / "world.nc", days)

    logger.info("2/4 Training on the first ten months")
    from orbitlite.training.cli import main as train

    train(["fit", "-c", str(config)])

    logger.info("3/4 Predicting the test period from the coarse fields")
    from orbitlite.api import evaluate, load
    from orbitlite.inference.writer import write
    from orbitlite.training.sources import data_of_config

    data = data_of_config(config)
    coarse = data.coarse_dataset("test").load()
    write(coarse, folder / "coarse.nc", overwrite=True)
    bundle = load(folder / "bundle")
    fine = coarse.orbitlite.predict(bundle)
    write(fine, folder / "prediction.nc", overwrite=True)

    logger.info("4/4 Scoring it beside the baselines")
    found = evaluate(
        fine,
        data.fine_dataset("test"),
        coarse=coarse,
        training=(data.coarse_dataset("train"), data.fine_dataset("train")),
    )
    found.report(folder / "report")
    _add_scores(folder / "bundle", found.scores)
    from rich.console import Console

    console = Console()
    console.print(found.table())
    console.print(_farewell(folder), highlight=False)
    return 0


def _generate(path: Path, days: int) -> None:
    from rich.console import Console

    from orbitlite.data.world import generate

    with Console(stderr=True).status("Generating"):
        world = generate(days=days)
        world.to_netcdf(path, engine="netcdf4")


def _add_scores(bundle: Path, scores: dict[str, dict[str, dict[str, float]]]) -> None:
    """Write the bundle again, with the scores in its card."""
    from orbitlite.model.bundle import load_bundle, save_bundle

    found = load_bundle(bundle)
    save_bundle(bundle, found.model, metadata=found.metadata, statics=found.statics, scores=scores)


def _clean_folder(folder: Path) -> Path:
    try:
        if folder.exists() and any(folder.iterdir()):
            if not (folder / _MARK).exists():
                raise InputError(
                    f"{folder} holds something that is not a demo; choose another with --out"
                )
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    return folder


def _farewell(folder: Path) -> str:
    return (
        f"\nEverything is in [bold]{folder.resolve()}[/bold]:\n"
        "  prediction.nc   the fine prediction          bundle/   the model\n"
        "  report/         scores and pictures          config.yaml   the settings\n\n"
        "Next, with your own coarse file of the same region, or after a fit of your own:\n"
        f"  orbitlite fit -c {folder}/config.yaml --data.fine YOUR.nc "
        "--trainer.default_root_dir runs/mine\n"
        "  orbitlite downscale COARSE.nc FINE.nc --model runs/mine/bundle\n"
    )
