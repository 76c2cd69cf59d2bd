"""coinr: small, bit-exact files for trained implicit neural representations.

blob = coinr.encode_state_dict(sd, seed=0)
sd = coinr.decode_state_dict(blob)
"""

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
from coinr.container import Limits
from coinr.dictionary import Dictionary
from coinr.errors import (
    BackendError,
    ChecksumError,
    CoinrError,
    FormatError,
    InputError,
    LimitError,
    StateDictError,
    TruncatedError,
    VersionError,
)
from coinr.omp import SparseCode, omp
from coinr.report import Report

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "ChecksumError",
    "CoinrError",
    "Dictionary",
    "FormatError",
    "InputError",
    "LimitError",
    "Limits",
    "Report",
    "SparseCode",
    "StateDictError",
    "TruncatedError",
    "VersionError",
    "decode_state_dict",
    "decode_tensor",
    "encode_state_dict",
    "inspect",
    "load",
    "omp",
    "read_meta",
    "save",
    "verify",
]
