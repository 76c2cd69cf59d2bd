from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def philox4x32(counters: NDArray[np.uint32], seed: int) -> NDArray[np.uint32]: ...
def entries(
    kind: int, n: int, M: int, seed: int, stream: int, indices: NDArray[np.int64], threads: int
) -> NDArray[np.int8]: ...
def correlate_argmax(
    R: NDArray[np.float32], kind: int, M: int, seed: int, stream: int, threads: int, exact: bool = False
) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
def omp(
    W: NDArray[np.float32], kind: int, M: int, seed: int, stream: int, s: int, threads: int, exact: bool = False
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]: ...
def synthesize(
    indices: NDArray[np.int32],
    q: NDArray[np.int32],
    step: float,
    kind: int,
    n: int,
    M: int,
    seed: int,
    stream: int,
    threads: int,
) -> NDArray[np.float32]: ...
def pack_bits(values: NDArray[np.uint32], width: int) -> bytes: ...
def unpack_bits(data: bytes, count: int, width: int) -> NDArray[np.uint32]: ...
def pack_sorted(indices: NDArray[np.int32], M: int) -> bytes: ...
def unpack_sorted(data: bytes, B: int, s: int, M: int) -> NDArray[np.int32]: ...
def encode_levels(
    k: NDArray[np.int32],
    row: NDArray[np.uint8],
    column: NDArray[np.uint8],
    log_states: int,
    shape: int,
    scale: int,
    switches: int,
) -> bytes: ...
def decode_levels(
    data: bytes, rows: int, columns: int, log_states: int, shape: int, scale: int, switches: int
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint8]]: ...
def encode_levels_in_blocks(
    k: NDArray[np.int16] | NDArray[np.int32],
    row: NDArray[np.uint8],
    log_states: int,
    shape: int,
    scale: int,
    switches: int,
) -> CodedLevels: ...

class CodedLevels:
    def finish(self) -> bytes: ...

class LevelReader:
    def __init__(
        self,
        data: bytes | memoryview,
        rows: int,
        columns: int,
        log_states: int,
        shape: int,
        scale: int,
        switches: int,
    ) -> None: ...
    @property
    def row(self) -> NDArray[np.uint8]: ...
    @property
    def column(self) -> NDArray[np.uint8]: ...
    def read(self, count: int) -> NDArray[np.int32]: ...
    def finish(self) -> None: ...

def level_values(k: NDArray[np.int32], log_states: int) -> NDArray[np.int32]: ...
def level_costs(log_states: int, shape: int, scale: int, count: int) -> NDArray[np.float64]: ...
def choose_levels(
    log_states: int,
    x: NDArray[np.float64],
    weight: NDArray[np.float64],
    bits: NDArray[np.float64],
    table: NDArray[np.uint8],
    closed: bool = False,
) -> NDArray[np.int32]: ...
def choose_levels_with_feedback(
    log_states: int,
    matrix: NDArray[np.float64],
    steps: NDArray[np.float64],
    weight: NDArray[np.float64],
    feedback: NDArray[np.float64],
    bits: NDArray[np.float64],
    table: NDArray[np.uint8],
) -> NDArray[np.int32]: ...
def encode_sparse(
    counts: NDArray[np.int32], indices: NDArray[np.int32], q: NDArray[np.int32], M: int, s: int
) -> bytes: ...
def decode_sparse(data: bytes, B: int, M: int, s: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]: ...
def pursue(
    X: NDArray[np.float32],
    M: int,
    seed: int,
    lambda_: float,
    set_bits: NDArray[np.float64],
    value_bits: NDArray[np.float64],
    beam: int = 1,
    threads: int = 1,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]: ...
def encode_exact(
    raw: bytes | memoryview, rows: int, columns: int, width: int, lanes: int, transform: int, modeled: int
) -> bytes: ...
def decode_exact(
    data: bytes | memoryview, rows: int, columns: int, width: int, lanes: int, transform: int, modeled: int
) -> NDArray[np.uint8]: ...
def encode_continued(known: bytes | memoryview, raw: bytes | memoryview, columns: int) -> bytes: ...
def decode_continued(known: bytes | memoryview, data: bytes | memoryview, size: int, columns: int) -> bytes: ...
def exact_costs(
    raw: bytes | memoryview, rows: int, columns: int, width: int, lanes: int, transform: int
) -> NDArray[np.float64]: ...
def max_modeled_bits(size: int) -> int: ...
def encode_bools(raw: bytes | memoryview, rows: int, columns: int) -> bytes: ...
def decode_bools(data: bytes | memoryview, rows: int, columns: int) -> NDArray[np.uint8]: ...

class MlpProgram:
    def __init__(
        self,
        inputs: Sequence[tuple[int, Sequence[float], int, int]],
        layers: Sequence[tuple[str, str, int, int, int, int, int, int, float, float]],
    ) -> None: ...
    @property
    def outputs(self) -> int: ...
    def forward(
        self, tensors: Sequence[NDArray[Any]], inputs: Sequence[NDArray[np.float32]], count: int, threads: int
    ) -> NDArray[np.float32]: ...
    def backward(
        self,
        tensors: Sequence[NDArray[Any]],
        inputs: Sequence[NDArray[np.float32]],
        count: int,
        out_gradient: NDArray[np.float32],
        to_inputs: bool,
        threads: int,
    ) -> tuple[list[NDArray[Any]], NDArray[np.float32] | None]: ...
    def squared_error(
        self,
        tensors: Sequence[NDArray[Any]],
        inputs: Sequence[Sequence[NDArray[np.float32]]],
        targets: Sequence[NDArray[np.float32]],
        factor: float,
        gradients: Sequence[NDArray[Any]],
        threads: int,
    ) -> list[float]: ...
    def grid_squared_error(
        self,
        tensors: Sequence[NDArray[Any]],
        grids: Sequence[Grid],
        numbers: Sequence[NDArray[np.int64]],
        factor: float,
        gradients: Sequence[NDArray[Any]],
        threads: int,
    ) -> list[float]: ...
    def grid_score(
        self,
        tensors: Sequence[NDArray[Any]],
        grid: Grid,
        numbers: NDArray[np.int64],
        rule: str,
        full: float,
        threads: int,
    ) -> list[float]: ...

class Grid:
    def __init__(self, size: Sequence[int], values: NDArray[np.uint8] | NDArray[np.float32]) -> None: ...

class Permutation:
    def __init__(self, count: int, rotations: Sequence[NDArray[np.int32]]) -> None: ...
    @staticmethod
    def grid(count: int) -> tuple[int, int]: ...
    def numbers(self, begin: int, out: NDArray[np.int64], threads: int) -> None: ...

class OptimizerSteps:
    def __init__(
        self,
        matrices: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
        others: Sequence[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]],
    ) -> None: ...
    def take(
        self,
        gradients: Sequence[NDArray[Any]],
        steps: Sequence[float],
        rate: float,
        momentum: float,
        beta1: float,
        beta2: float,
        eps: float,
        threads: int,
    ) -> None: ...

def sines(x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
def simd_level() -> str: ...
