"""nncodec 2.1.3 (ISO/IEC 15938-17, DeepCABAC), in an environment of its own.

    python -m bench.harness.nncodec --make-env bench/cache/nncodec-env

It would pull other builds of numpy and torch than ours, so it is installed without its dependencies and run by
subprocess; what it imports for data sets and training is stubbed (``nncodec_worker.STUBS``). What it is given: float32
arrays; a complex tensor as two real ones, a 0-dim one with one element. All settings are measured: steps of both kinds
of tensors an eighth of an octave apart (``qp`` at ``qp_density`` 3), the finer step of biases and other vectors 0 to 4
octaves below or nncodec's default (``nonweight_qp``), trellis on and off (``use_dq``; off wins in places), and two
lengths of the unary part. ``nncodec`` is the best of them all; ``nncodec, public defaults`` only those that its
``encode`` offers: trellis, its unary length. Left at their best: ``param_opt`` on, ``opt_qp`` off (it makes large
tensors coarser and loses), ``lambda_scale`` 0, ``scan_order`` 0, ``row_skipping`` off; ``bnf`` and ``lsa`` need
training.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import venv
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.harness.measure import Bench, Row

ENVIRONMENT = Path("bench/cache/nncodec-env")
VERSION = "2.1.3"

#: The command that installs nncodec.
INSTALL = f"python -m bench.harness.nncodec --make-env {ENVIRONMENT}"

_PACKAGES = (("torch==2.13.0", "numpy>=2"), ("--no-deps", f"nncodec=={VERSION}"))

DENSITY = 3  # quantizer steps per octave: 2**DENSITY
_OCTAVE = 1 << DENSITY
_DEFAULT = -75 * 2  # nncodec's default nonweight_qp, -75 at density 2, in our density
_FINEST, _COARSEST = -23 * _OCTAVE, _OCTAVE  # an audio SIREN needs steps near 2^-21
_UNARY = (0, 10)  # 10 is nncodec's own, 0 the best for weights of many levels
LIMITS = (0.01, 1.5)  # losses in dB between which every setting is measured


@dataclass(frozen=True)
class Setting:
    """Arguments of ``nncodec.nnc.compress``."""

    qp: int
    nonweight_qp: int
    use_dq: bool
    unary: int

    @property
    def text(self) -> str:
        """Return the setting as it stands in the tables."""
        return f"qp={self.qp} nonweight_qp={self.nonweight_qp} use_dq={int(self.use_dq)} unary={self.unary}"

    @property
    def job(self) -> dict[str, Any]:
        """Return the arguments by nncodec's names."""
        return {
            "qp": self.qp,
            "nonweight_qp": self.nonweight_qp,
            "qp_density": DENSITY,
            "use_dq": self.use_dq,
            "cabac_unary_length_minus1": self.unary,
        }


def make_environment(folder: Path) -> None:
    """Make nncodec's environment: torch and numpy, then nncodec without its dependencies."""
    venv.create(folder, with_pip=True)
    for packages in _PACKAGES:
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages], check=True)


def to_arrays(state_dict: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Return Float32 arrays that nncodec takes."""
    arrays = {}
    for name, tensor in state_dict.items():
        if tensor.is_complex():
            arrays[name], arrays[f"{name}.i"] = tensor.real.numpy(), tensor.imag.numpy()
        else:
            arrays[name] = tensor.numpy()
    return {name: np.ascontiguousarray(np.atleast_1d(array), np.float32) for name, array in arrays.items()}


def from_arrays(arrays: Mapping[str, NDArray[np.float32]], like: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Return the state dict of decoded arrays."""
    decoded = OrderedDict()
    for name, tensor in like.items():
        real = torch.from_numpy(arrays[name])
        whole = torch.complex(real, torch.from_numpy(arrays[f"{name}.i"])) if tensor.is_complex() else real
        decoded[name] = whole.reshape(tensor.shape)
    return decoded


@dataclass(frozen=True)
class Coded:
    """What nncodec makes of a state dict with one setting, its seconds by the clock and its CPU seconds."""

    blob: bytes
    arrays: dict[str, NDArray[np.float32]]
    encode_seconds: float
    decode_seconds: float
    encode_cpu: float
    decode_cpu: float


def code(state_dict: Mapping[str, Tensor], settings: list[Setting], environment: Path = ENVIRONMENT) -> Iterator[Coded]:
    """Yield what nncodec makes of a state dict with each setting: its files, read back by its own decoder.

    Raises
    ------
    RuntimeError
        If nncodec fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "tensors.npz", allow_pickle=False, **to_arrays(state_dict))
        (folder / "jobs.json").write_text(json.dumps([s.job for s in settings]))
        worker = Path(__file__).with_name("nncodec_worker.py")
        command: list[str | Path] = [
            environment / "bin" / "python",
            "-P",
            worker,
            folder / "tensors.npz",
            folder / "jobs.json",
            folder,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"nncodec: {done.stderr.strip()[-600:]}")
        for k, seconds in enumerate(json.loads((folder / "times.json").read_text())):
            with np.load(folder / f"{k}.npz", allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            yield Coded((folder / f"{k}.nnc").read_bytes(), arrays, *seconds)


def is_installed(environment: Path = ENVIRONMENT) -> bool:
    """Return whether nncodec's environment was made."""
    return (environment / "bin" / "python").exists()


def _run(bench: Bench, settings: list[Setting], environment: Path) -> None:
    """Code, decode and evaluate the settings that are not known yet; they are kept in the cache."""
    missing = [s for s in settings if bench.known("nncodec", s.text, VERSION) is None]
    if not missing:
        return
    scored: dict[bytes, tuple[float, dict[str, float]]] = {}  # many settings decode to the same tensors
    for setting, coded in zip(missing, code(bench.entry.state_dict, missing, environment), strict=True):
        key = b"".join(array.tobytes() for array in coded.arrays.values())
        if key not in scored:
            scored[key] = bench.evaluate(from_arrays(coded.arrays, bench.entry.state_dict))
        quality, others = scored[key]
        seconds = (coded.encode_seconds, coded.decode_seconds)
        bench.keep(bench.row("nncodec", setting.text, len(coded.blob), quality, seconds, **others), VERSION)


def _range(bench: Bench, environment: Path, limits: tuple[float, float]) -> range:
    """Return the values of qp whose loss matters, found half an octave apart."""
    ladder = range(_FINEST, _COARSEST, _OCTAVE // 2)
    settings = [Setting(qp, qp - 2 * _OCTAVE, True, _UNARY[-1]) for qp in ladder]
    _run(bench, settings, environment)
    rows = [bench.known("nncodec", s.text, VERSION) for s in settings]
    chosen = [qp for qp, row in zip(ladder, rows, strict=True) if row and limits[0] < row.loss_db < limits[1]]
    if not chosen:
        return range(0)
    return range(chosen[0] - _OCTAVE // 2, chosen[-1] + _OCTAVE // 2 + 1)


def rows(bench: Bench, environment: Path = ENVIRONMENT, limits: tuple[float, float] = LIMITS) -> Iterator[Row]:
    """Yield every setting of nncodec where its loss in dB matters.

    Raises
    ------
    RuntimeError
        If nncodec fails, or its environment was not made.
    """
    if not is_installed(environment):
        raise RuntimeError(f"no nncodec in {environment}: {INSTALL}")
    chosen = _range(bench, environment, limits)
    settings = []
    for qp in chosen:
        for use_dq, below in ((True, (0, 1, 2, 3, 4)), (False, (1, 2, 3))):
            others = [qp - octaves * _OCTAVE for octaves in below] + [_DEFAULT] * use_dq
            settings += [Setting(qp, other, use_dq, unary) for other in dict.fromkeys(others) for unary in _UNARY]
    _run(bench, settings, environment)
    for setting in settings:
        row = bench.known("nncodec", setting.text, VERSION)
        assert row is not None
        yield row
        if setting.use_dq and setting.unary == _UNARY[-1]:
            yield replace(row, coder="nncodec, public defaults")


def main() -> None:
    """Make the environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make-env", type=Path, required=True, help=f"folder; the harness looks in {ENVIRONMENT}")
    make_environment(parser.parse_args().make_env)


if __name__ == "__main__":
    main()
