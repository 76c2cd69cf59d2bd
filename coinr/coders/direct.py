"""Direct coder: a uniform or trellis-coded quantiser and an adaptive arithmetic coder, one step a tensor.

w = float32(v) · step with integers v: |v| stays below 2²⁴, so the product is the only rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.coders.base import read_short_step, write_short_step
from coinr.coders.levels import LARGEST_VALUE, LevelForm
from coinr.errors import FormatError
from coinr.tensors import LOSSY_DTYPES, Layout, from_planes
from coinr.wire import Reader


@dataclass(frozen=True)
class DirectParams:
    """The form of the integers, and the step: a float32 whose lower 16 bits are zero."""

    form: LevelForm
    step: float

    def write(self) -> bytes:
        return self.form.write() + write_short_step(self.step)

    def check(self, layout: Layout) -> None:
        if layout.dtype not in LOSSY_DTYPES:
            raise FormatError(f"{layout.dtype} cannot be quantised")
        if not layout.size:
            raise FormatError("a tensor without elements cannot be quantised")

    def work(self, layout: Layout) -> int:
        return 0

    def describe(self, layout: Layout) -> dict[str, Any]:
        return {"step": self.step, "states": 1 << self.form.log_states}


class DirectCoder:
    """Payload: the coded integers, as the matrix [planes · shape[0], rest]."""

    id = 3
    name = "direct"

    def read(self, reader: Reader) -> DirectParams:
        form = LevelForm.read(reader)
        return DirectParams(form, read_short_step(reader, LARGEST_VALUE))

    def encode(self, source: NDArray[np.int32], params: DirectParams) -> bytes:
        return params.form.encode(source)

    def decode(
        self, payload: memoryview, params: DirectParams, layout: Layout, seed: int, device: torch.device
    ) -> torch.Tensor:
        values = params.form.decode(payload, *matrix_shape(layout))
        return dequantise(values, params.step, layout).to(device)


def matrix_shape(layout: Layout) -> tuple[int, int]:
    """Rows and columns of the matrix of all planes; a vector is one row."""
    rows = layout.shape[0] if len(layout.shape) > 1 else 1
    return layout.planes * rows, layout.size // rows


def dequantise(values: NDArray[np.int32], step: float, layout: Layout) -> torch.Tensor:
    """The tensor of integer multiples of a step, each product rounded to float32 and then to the dtype."""
    planes = torch.from_numpy(values.astype(np.float32) * np.float32(step)).reshape(layout.planes, -1)
    return from_planes(planes, layout)
