"""Classes that a config or an argument may name."""

from __future__ import annotations

from importlib import import_module

from jsonargparse import set_parsing_settings

_LIGHTNING = {
    "lightning.pytorch.callbacks": (
        "DeviceStatsMonitor", "EarlyStopping", "LearningRateMonitor", "ModelSummary",
        "RichModelSummary",
    ),
    "lightning.pytorch.loggers": (
        "CSVLogger", "CometLogger", "MLFlowLogger", "TensorBoardLogger", "WandbLogger",
    ),
    "lightning.pytorch.profilers": ("AdvancedProfiler", "PyTorchProfiler", "SimpleProfiler"),
}  # fmt: skip
"""Those that do what they say in a run of ours, by the module that offers them."""

_OURS = (
    "orbitlite.model.config.DownscalerConfig",
    "orbitlite.parallel.mesh.ParallelConfig",
    "orbitlite.training.masking.ReconstructionConfig",
    "orbitlite.training.optimisation.Optimisation",
    "orbitlite.training.tuning.InitConfig",
)
"""Those of the sections: the parser asks for them as well."""

ALLOWED = tuple(name for names in _LIGHTNING.values() for name in names)
"""Names of the classes that a `class_path` may end in."""


def allow_classes() -> None:
    """Have each name of a class or function checked before its module is imported.

    To import a module is to run it, so a config could else run what it likes. The parser asks for
    names wherever one may stand: in config files, in arguments, in variables of the environment,
    among the arguments of a class, and where the help of a class is wanted.
    """
    allowed = list(_OURS)
    for module, names in _LIGHTNING.items():
        for name in names:
            found = getattr(import_module(module), name)
            # as it is named, and where it is defined
            allowed += [f"{module}.{name}", f"{found.__module__}.{found.__qualname__}"]
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=allowed,
        instantiate_subclass_spec_in_any=False,  # data.fine is a path, never an object
    )
