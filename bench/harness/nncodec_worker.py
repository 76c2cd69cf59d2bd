"""The part of the nncodec peer that runs in nncodec's own environment; it imports nothing of ours.

``python nncodec_worker.py TENSORS.npz JOBS.json OUT`` codes the arrays of ``TENSORS.npz`` once per job (keyword
arguments of ``nncodec.nnc.compress``): ``OUT/k.nnc`` is the bitstream of job k as nncodec wrote it, ``OUT/k.npz`` what
nncodec's decoder makes of that file, ``OUT/times.json`` the seconds
of both, by the clock and of CPU time.
"""

import importlib.machinery
import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np

# What nncodec's package imports for data sets, training and other frameworks; no part of coding or decoding.
STUBS = ("torchvision", "cv2", "pandas", "sklearn", "h5py", "tqdm", "flwr", "wandb")


class _Anything(type):
    """Make classes whose every attribute is :class:`_Nothing` again."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing


class _Nothing(metaclass=_Anything):
    """Takes any arguments, can be inherited from, does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


class _Stub(types.ModuleType):
    """A module whose every name is :class:`_Nothing`."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing


class _Finder:
    """Find a stub for ``STUBS`` and their submodules that are not installed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] not in STUBS:
            return None
        return importlib.machinery.ModuleSpec(name, _Finder, is_package=True)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Stub(spec.name)

    @staticmethod
    def exec_module(module: types.ModuleType) -> None:
        pass


def main() -> None:
    """Code every job, decode it from its file."""
    sys.meta_path.append(_Finder)
    from nncodec import nnc  # type: ignore[import-not-found]

    source, jobs, out = (Path(argument) for argument in sys.argv[1:4])
    with np.load(source, allow_pickle=False) as stored:
        tensors = {name: stored[name] for name in stored.files}
    times = []
    for k, job in enumerate(json.loads(jobs.read_text())):
        path = out / f"{k}.nnc"
        given = {name: array.copy() for name, array in tensors.items()}
        start, cpu = time.perf_counter(), time.process_time()
        nnc.compress(given, bitstream_path=str(path), **job)
        coded, coded_cpu = time.perf_counter(), time.process_time()
        decoded = nnc.decompress(str(path))
        done, done_cpu = time.perf_counter(), time.process_time()
        np.savez(out / f"{k}.npz", allow_pickle=False, **decoded)
        times.append([coded - start, done - coded, coded_cpu - cpu, done_cpu - coded_cpu])
    (out / "times.json").write_text(json.dumps(times))


if __name__ == "__main__":
    main()
