"""Sizes that are asked for on the command line."""

import json

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

import coinr
from coinr.cli import cli


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    save_file({"a.weight": torch.randn(48, 48), "a.bias": torch.randn(48)}, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def pack(model, *arguments):
    out = model.with_suffix(".coinr")
    return CliRunner().invoke(cli, ["pack", str(model), "-o", str(out), *arguments, "--json"]), out


@pytest.mark.parametrize("arguments", [("--target-bytes", "1500"), ("--target-bits", f"{8 * 1500 / (48 * 49):.6f}")])
def test_pack_meets_a_size(model, arguments):
    done, out = pack(model, *arguments)
    assert done.exit_code == 0
    assert 0.98 * 1500 <= json.loads(done.output)["file_bytes"] == out.stat().st_size <= 1500
    assert len(coinr.load(out)) == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--target-bytes", "0"), 2), (("--target-bytes", "9"), 1), (("--target-bytes", "900", "--tolerance", "0.1"), 2)],
)
def test_sizes_that_cannot_be_leave_nothing_behind(model, arguments, code):
    with pytest.raises(SystemExit) as ended:
        cli.main(["pack", str(model), "-o", str(model.with_suffix(".coinr")), *arguments])
    assert ended.value.code == code
    assert sorted(path.name for path in model.parent.iterdir()) == ["model.safetensors"]
