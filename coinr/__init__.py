"""coinr: small, bit-exact files for trained implicit neural representations.

blob = coinr.encode_state_dict(sd, seed=0)
sd = coinr.decode_state_dict(blob)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coinr.budget import Compressed, compress
    from coinr.codec import (
        decode_state_dict,
        decode_tensor,
        encode_state_dict,
        inspect,
        load,
        read_meta,
        save,
        verify,
    )
    from coinr.dictionary import Dictionary
    from coinr.errors import (
        BackendError,
        BaseError,
        ChecksumError,
        CoinrError,
        DependencyError,
        FormatError,
        InputError,
        LimitError,
        StateDictError,
        TruncatedError,
        VersionError,
    )
    from coinr.fitting import Fit, fit, fit_many
    from coinr.networks import Finer, Gauss, Nerf, Relu, Siren, Wire, build_network
    from coinr.pursuit import SparseCode, omp
    from coinr.refinement import Refined, refine
    from coinr.report import Report
    from coinr.searching import SearchResult, search
    from coinr.signals.audio import AudioSignal, read_audio, render_audio, write_audio
    from coinr.signals.base import Signal
    from coinr.signals.files.audio import AudioFile
    from coinr.signals.files.image import ImageFile
    from coinr.signals.files.opening import load_network, open_file, open_image, pack_image, pack_signal
    from coinr.signals.files.scene import SceneFile
    from coinr.signals.files.shape import ShapeFile
    from coinr.signals.image import ImageSignal, render_image
    from coinr.signals.image_io import read_image, write_image
    from coinr.signals.metrics import psnr
    from coinr.signals.opening import open_signal
    from coinr.signals.scene import SceneSignal
    from coinr.signals.shape import ShapeSignal
    from coinr.table import Limits

__version__ = "0.1.0"

__all__ = [
    "AudioFile",
    "AudioSignal",
    "BackendError",
    "BaseError",
    "ChecksumError",
    "CoinrError",
    "Compressed",
    "DependencyError",
    "Dictionary",
    "Finer",
    "Fit",
    "FormatError",
    "Gauss",
    "ImageFile",
    "ImageSignal",
    "InputError",
    "LimitError",
    "Limits",
    "Nerf",
    "Refined",
    "Relu",
    "Report",
    "SceneFile",
    "SceneSignal",
    "SearchResult",
    "ShapeFile",
    "ShapeSignal",
    "Signal",
    "Siren",
    "SparseCode",
    "StateDictError",
    "TruncatedError",
    "VersionError",
    "Wire",
    "build_network",
    "compress",
    "decode_state_dict",
    "decode_tensor",
    "encode_state_dict",
    "fit",
    "fit_many",
    "inspect",
    "load",
    "load_network",
    "omp",
    "open_file",
    "open_image",
    "open_signal",
    "pack_image",
    "pack_signal",
    "psnr",
    "read_audio",
    "read_image",
    "read_meta",
    "refine",
    "render_audio",
    "render_image",
    "save",
    "search",
    "verify",
    "write_audio",
    "write_image",
]

# Public names load on first use: importing torch takes seconds, which the command line's --help need not wait for.
_HOMES = {
    "budget": "Compressed compress",
    "codec": "decode_state_dict decode_tensor encode_state_dict inspect load read_meta save verify",
    "dictionary": "Dictionary",
    "errors": (
        "BackendError BaseError ChecksumError CoinrError DependencyError FormatError InputError LimitError "
        "StateDictError TruncatedError VersionError"
    ),
    "fitting": "Fit fit fit_many",
    "networks": "Finer Gauss Nerf Relu Siren Wire build_network",
    "pursuit": "SparseCode omp",
    "refinement": "Refined refine",
    "report": "Report",
    "searching": "SearchResult search",
    "signals.audio": "AudioSignal read_audio render_audio write_audio",
    "signals.base": "Signal",
    "signals.files.audio": "AudioFile",
    "signals.files.image": "ImageFile",
    "signals.files.opening": "load_network open_file open_image pack_image pack_signal",
    "signals.files.scene": "SceneFile",
    "signals.files.shape": "ShapeFile",
    "signals.image": "ImageSignal render_image",
    "signals.image_io": "read_image write_image",
    "signals.metrics": "psnr",
    "signals.opening": "open_signal",
    "signals.scene": "SceneSignal",
    "signals.shape": "ShapeSignal",
    "table": "Limits",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
