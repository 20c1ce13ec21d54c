"""What the extras bring, and how one gets it: said here, and nowhere else.

The base computes; what reads data, draws and talks is imported where it is used.
"""

import importlib
from typing import Any

MODULES = {
    "train": (
        "PIL",
        "array_record",
        "importlib_resources",
        "matfree",
        "matplotlib",
        "scipy",
        "sklearn",
        "tensorflow_datasets",
        "tyro",
    ),
    "streaming": ("grain",),
    "export": ("flatbuffers", "safetensors"),
    "compile": ("jax_cuda13_plugin", "libtpu"),
}


def pip_line(module: str) -> str:
    """How to install what a module belongs to.

    >>> pip_line("matplotlib.figure"), pip_line("tensorflow")
    ("pip install 'optix_tricks[train]'", 'pip install tensorflow')
    """
    name = module.partition(".")[0]
    for extra, modules in MODULES.items():
        if name in modules:
            return f"pip install 'optix_tricks[{extra}]'"
    return f"pip install {name}"


def absence(error: ModuleNotFoundError) -> str:
    """Say in one sentence what is not installed, and how it will be."""
    name = str(error.name or error).partition(".")[0]
    return f"{name} is not installed: {pip_line(name)}."


def needed(module: str) -> Any:
    """Import a module of an extra.

    >>> needed("numpy").sqrt(4.0) == 2.0
    np.True_

    Raises:
      ModuleNotFoundError: with the sentence of `absence`.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(absence(error), name=error.name) from error
