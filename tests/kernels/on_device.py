"""The kernels for the tests: on the CUDA device where there is one, else in Triton's interpreter.

Import this before anything imports Triton: the variable is read when a kernel is defined. The tests of the compiled
machine code (``test_aot.py``) therefore run in a process of their own.
"""

import importlib
import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

kernels = importlib.import_module("coinr.kernels")
usable, reason = kernels.available()
if not usable:
    raise RuntimeError(f"Triton was imported before its interpreter was chosen: {reason}")
DEVICE = kernels.device()
KINDS = ("gaussian", "rademacher", "hadamard")
