import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from coinr.errors import DependencyError, InputError
from coinr.runtime.optional import _PACKAGES, import_optional
from coinr.signals.grids import sample_grid


def test_samples_come_in_order_and_in_chunks(monkeypatch):
    monkeypatch.setattr("coinr.signals.grids.CHUNK", 4)
    parts = list(sample_grid(torch.nn.Identity(), [2 * np.arange(10, dtype=np.float32)], range(1, 2), "test"))
    assert [(start, len(values)) for start, values in parts] == [(0, 4), (4, 4), (8, 2)]
    assert np.concatenate([values for _, values in parts])[:, 0].tolist() == [2.0 * k for k in range(10)]


def test_what_a_network_gives_is_checked():
    for network, message in [
        (torch.nn.Flatten(0), r"\[N, 2\] for \[3, 1\], got \[3\]"),
        (torch.nn.Identity(), r"\[N, 2\] for \[3, 1\], got \[3, 1\]"),
        (lambda x: torch.full((len(x), 2), torch.nan), "not finite"),
    ]:
        module = network if isinstance(network, torch.nn.Module) else _module(network)
        with pytest.raises(InputError, match=message):
            list(sample_grid(module, [np.arange(3, dtype=np.float32)], range(2, 3), "test"))


def _module(function):
    class Module(torch.nn.Module):
        def forward(self, x):
            return function(x)

    return Module()


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("skimage.measure", "scikit-image"),
        ("imageio_ffmpeg", "imageio-ffmpeg"),
        ("pytorch_msssim", "pytorch-msssim"),
        ("soundfile", "soundfile"),
        ("scipy.spatial", "scipy"),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyError) as caught:
        import_optional(module)
    assert str(caught.value) == (
        f"this needs {package}, which is not installed: pip install {package}, "
        "or pip install '.[signals]' in coinr's source folder for all that belongs to it"
    )
    assert "'.[video]'" in str(pytest.raises(DependencyError, import_optional, module, "video").value)


def test_what_a_library_itself_lacks_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "_soundfile", None)
    monkeypatch.delitem(sys.modules, "soundfile", raising=False)
    with pytest.raises(DependencyError, match="needs _soundfile"):
        import_optional("soundfile")


@pytest.mark.parametrize("fault", [OSError("sndfile library not found"), ImportError("a symbol is missing")])
def test_a_library_that_cannot_be_loaded_is_named(fault, monkeypatch):
    def fail(module):
        raise fault

    monkeypatch.setattr("coinr.runtime.optional.importlib.import_module", fail)
    with pytest.raises(DependencyError, match=f"needs soundfile, which cannot be loaded: {fault}"):
        import_optional("soundfile")


def test_the_packages_that_messages_name_are_those_of_the_extras():
    """What is named as missing is what an extra of pyproject.toml brings, itself or as a part of it."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    listed = {
        re.split(r"\[|>=", line)[0]
        for name in ("signals", "video", "many", "ray")
        for line in project["optional-dependencies"][name]
    }
    source = "\n".join(path.read_text() for path in (Path(__file__).parents[2] / "coinr").rglob("*.py"))
    asked = {name.partition(".")[0] for name in re.findall(r'optional\("([\w.]+)"', source)}
    names = {_PACKAGES.get(name, name) for name in asked}
    assert len(names) > 8
    # scikit-image brings scipy, Ray Data brings fsspec
    assert names - {"scipy", "fsspec"} == listed


def test_modules_that_are_there_are_given():
    assert import_optional("json").loads("1") == 1
