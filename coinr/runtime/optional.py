"""Optional libraries, which only some signals need."""

from __future__ import annotations

import importlib
from typing import Any

from coinr.errors import DependencyError

#: Names of packages by the names of their modules, where they differ.
_PACKAGES = {
    "imageio_ffmpeg": "imageio-ffmpeg",
    "pytorch_msssim": "pytorch-msssim",
    "skimage": "scikit-image",
}


def import_optional(module: str, extra: str = "signals") -> Any:
    """Import a module of an optional library.

    Raises
    ------
    DependencyError
        If it is not installed, or cannot be loaded; the message names the package and the commands that install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = (error.name or module).partition(".")[0]
        package = _PACKAGES.get(library, library)
        raise DependencyError(
            f"this needs {package}, which is not installed: pip install {package}, "
            f"or pip install '.[{extra}]' in coinr's source folder for all that belongs to it"
        ) from error
    except (ImportError, OSError) as error:  # soundfile raises an OSError where its own library is missing
        raise DependencyError(f"this needs {module.partition('.')[0]}, which cannot be loaded: {error}") from error
