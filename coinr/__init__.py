"""coinr: small, bit-exact files for trained implicit neural representations.

blob = coinr.encode_state_dict(sd, seed=0)
sd = coinr.decode_state_dict(blob)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coinr.codec.api import (
        decode_state_dict,
        decode_tensor,
        encode_state_dict,
        inspect,
        load,
        read_meta,
        save,
        verify,
    )
    from coinr.codec.format.tensor_table import Limits
    from coinr.codec.report import Report
    from coinr.engine.dictionary import Dictionary
    from coinr.engine.omp import SparseCode, omp
    from coinr.errors import (
        BackendError,
        ChecksumError,
        CoinrError,
        DependencyError,
        FormatError,
        InputError,
        LimitError,
        ReferenceNetworkError,
        StateDictError,
        TruncatedError,
        VersionError,
    )
    from coinr.fitting import Fit, fit, fit_many
    from coinr.networks import Finer, Gauss, Nerf, Relu, Siren, Wire, build_network
    from coinr.optimize.compress import Compressed, compress
    from coinr.optimize.refine import Refined, refine
    from coinr.optimize.search.run import SearchResult, search
    from coinr.signal_files.api import load_network, open_file, open_image, pack_image, pack_signal
    from coinr.signal_files.audio import AudioFile
    from coinr.signal_files.image import ImageFile
    from coinr.signal_files.scene import SceneFile
    from coinr.signal_files.shape import ShapeFile
    from coinr.signals.audio.signal import AudioSignal, read_audio, render_audio, write_audio
    from coinr.signals.image.files import read_image, write_image
    from coinr.signals.image.signal import ImageSignal, render_image
    from coinr.signals.metrics import psnr
    from coinr.signals.opening import open_signal
    from coinr.signals.scene.signal import SceneSignal
    from coinr.signals.shape.signal import ShapeSignal
    from coinr.signals.signal import Signal

__version__ = "0.1.0"

__all__ = [
    "AudioFile",
    "AudioSignal",
    "BackendError",
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
    "ReferenceNetworkError",
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
    "codec.api": "decode_state_dict decode_tensor encode_state_dict inspect load read_meta save verify",
    "codec.format.tensor_table": "Limits",
    "codec.report": "Report",
    "engine.dictionary": "Dictionary",
    "engine.omp": "SparseCode omp",
    "errors": (
        "BackendError ChecksumError CoinrError DependencyError FormatError InputError LimitError "
        "ReferenceNetworkError StateDictError TruncatedError VersionError"
    ),
    "fitting": "Fit fit fit_many",
    "networks": "Finer Gauss Nerf Relu Siren Wire build_network",
    "optimize.compress": "Compressed compress",
    "optimize.refine": "Refined refine",
    "optimize.search.run": "SearchResult search",
    "signal_files.api": "load_network open_file open_image pack_image pack_signal",
    "signal_files.audio": "AudioFile",
    "signal_files.image": "ImageFile",
    "signal_files.scene": "SceneFile",
    "signal_files.shape": "ShapeFile",
    "signals.audio.signal": "AudioSignal read_audio render_audio write_audio",
    "signals.image.files": "read_image write_image",
    "signals.image.signal": "ImageSignal render_image",
    "signals.metrics": "psnr",
    "signals.opening": "open_signal",
    "signals.scene.signal": "SceneSignal",
    "signals.shape.signal": "ShapeSignal",
    "signals.signal": "Signal",
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
