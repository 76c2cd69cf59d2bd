"""What the tests of the command line share: commands that succeed or fail, and files for them."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from safetensors.torch import save_file
from skimage import data
from torch import Tensor

import coinr
from coinr import cli

QUICK = ["--width", "12", "--hidden-layers", "1", "--steps", "30", "--profile", "uniform"]


def run(*args: object) -> Result:
    return CliRunner().invoke(cli.cli, [str(arg) for arg in args])


def succeed(*args: object) -> str:
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def fail(code: int, *args: object) -> str:
    """Run what must fail and return its message: one line of stderr, nothing on stdout, no traceback."""
    result = run(*args)
    assert result.exit_code == code, (result.stdout, result.stderr)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert re.fullmatch(r"coinr[^\n]*: error: [^\n]+\n", result.stderr), result.stderr
    return result.stderr


def photo() -> NDArray[np.uint8]:
    return np.ascontiguousarray(data.coffee()[::8, ::8])


def state_dict() -> OrderedDict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {"z.weight": torch.randn(20, 30, generator=generator), "a.bias": torch.randn(20, generator=generator)}
    return OrderedDict(tensors | {"steps": torch.tensor(7)})


def make(folder: Path) -> Path:
    """Fill a folder with a photo, an image file and the report of its encoding, a model, and a weights file."""
    coinr.write_image(folder / "photo.png", photo())
    report = succeed("encode", folder / "photo.png", "-o", folder / "photo.coinr", *QUICK, "--json")
    (folder / "report.json").write_text(report)
    save_file(dict(state_dict()), folder / "model.safetensors")
    coinr.save(folder / "model.coinr", state_dict(), profile="uniform")
    return folder
