"""coinr: small, bit-exact files for trained implicit neural representations.

blob = coinr.encode_state_dict(sd, seed=0)
sd = coinr.decode_state_dict(blob)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
        FormatError,
        InputError,
        LimitError,
        StateDictError,
        TruncatedError,
        VersionError,
    )
    from coinr.fitting import Fit, fit, fit_many
    from coinr.image_file import ImageFile, open_image, pack_image
    from coinr.images import psnr, read_image, render_image, write_image
    from coinr.networks import Finer, Gauss, Nerf, Relu, Siren, Wire, build_network
    from coinr.pursuit import SparseCode, omp
    from coinr.report import Report
    from coinr.search import SearchResult, search
    from coinr.table import Limits

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "BaseError",
    "ChecksumError",
    "CoinrError",
    "Dictionary",
    "Finer",
    "Fit",
    "FormatError",
    "Gauss",
    "ImageFile",
    "InputError",
    "LimitError",
    "Limits",
    "Nerf",
    "Relu",
    "Report",
    "SearchResult",
    "Siren",
    "SparseCode",
    "StateDictError",
    "TruncatedError",
    "VersionError",
    "Wire",
    "build_network",
    "decode_state_dict",
    "decode_tensor",
    "encode_state_dict",
    "fit",
    "fit_many",
    "inspect",
    "load",
    "omp",
    "open_image",
    "pack_image",
    "psnr",
    "read_image",
    "read_meta",
    "render_image",
    "save",
    "search",
    "verify",
    "write_image",
]

# Public names load on first use: importing torch takes seconds, which the command line's --help need not wait for.
_HOMES = {
    "codec": "decode_state_dict decode_tensor encode_state_dict inspect load read_meta save verify",
    "dictionary": "Dictionary",
    "errors": (
        "BackendError BaseError ChecksumError CoinrError FormatError InputError LimitError StateDictError "
        "TruncatedError VersionError"
    ),
    "fitting": "Fit fit fit_many",
    "image_file": "ImageFile open_image pack_image",
    "images": "psnr read_image render_image write_image",
    "networks": "Finer Gauss Nerf Relu Siren Wire build_network",
    "pursuit": "SparseCode omp",
    "report": "Report",
    "search": "SearchResult search",
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
    return sorted({*globals(), *__all__})
