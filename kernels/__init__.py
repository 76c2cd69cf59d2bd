"""Triton kernels: dictionary words, correlation with argmax, pursuit, synthesis and networks on the device.

Importable as ``coinr.kernels`` and, with torch, triton and numpy alone, as ``kernels`` from a source tree. The
kernels run on a CUDA device, or on the CPU in Triton's interpreter if ``TRITON_INTERPRET=1`` is set before Triton is
imported.
"""

from __future__ import annotations

import torch

_missing: ImportError | None = None
try:
    import triton

    from ._checks import interpreted
    from .mlp import MOST_WIDTH, Mlp, mlp_backward, mlp_forward, mlp_squared_error
    from .omp import omp
    from .philox import entries, philox4x32
    from .select import correlate_argmax
    from .synthesize import synthesize
except ImportError as cause:
    _missing = cause

__all__ = [
    "MOST_WIDTH",
    "Mlp",
    "available",
    "correlate_argmax",
    "device",
    "entries",
    "mlp_backward",
    "mlp_forward",
    "mlp_squared_error",
    "omp",
    "philox4x32",
    "synthesize",
]


def available() -> tuple[bool, str]:
    """Return whether the kernels can run here, and on what, or why not."""
    if _missing is not None:
        return False, f"Triton cannot be imported: {_missing}"
    if interpreted():
        return True, f"Triton {triton.__version__} in its interpreter, on the CPU"
    if not torch.cuda.is_available():
        return False, "no CUDA device (TRITON_INTERPRET=1 runs the kernels in Triton's interpreter)"
    major, minor = torch.cuda.get_device_capability()
    if major < 8:
        return False, f"{torch.cuda.get_device_name()} has compute capability {major}.{minor}; 8.0 is needed"
    return True, f"Triton {triton.__version__} on {torch.cuda.get_device_name()} (sm_{major}{minor})"


def device() -> torch.device:
    """Return the device of tensors for the kernels: the current CUDA device, or the CPU in the interpreter."""
    return torch.device("cpu") if interpreted() else torch.device("cuda", torch.cuda.current_device())
