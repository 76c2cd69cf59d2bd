"""Who may import whom: a room of the package imports from rooms below it and from itself, never upward.

Imports within functions count like those at the top of a file, and so do those for type checkers alone.
"""

from __future__ import annotations

import ast
import functools
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Rooms of the package, from the lowest floor to the highest; those on one floor know nothing of each other.
FLOORS = {
    "coinr": [
        {"errors", "progress"},
        {"runtime"},
        {"inputs"},
        {"files"},
        {"engine"},
        {"networks"},
        {"sensitivity"},
        {"codec", "signals"},
        {"starts"},
        {"signal_files", "fitting"},
        {"optimize", "meta"},
        {"many"},
        {"cli"},
    ],
    "coinr.codec": [
        {"tensors", "wire", "bracket", "distortion", "effort"},
        {"state_dict"},
        {"elements", "reference"},
        {"coders"},
        {"format"},
        {"options"},
        {"candidates"},
        {"allocate", "quantize"},
        {"profiles"},
        {"report", "rate_control", "output_control", "canonical"},
        {"reading"},
        {"encoder", "state_dict_file"},
        {"api", "baselines"},
        {"many", "dataset"},
    ],
    "coinr.signals": [
        {"signal"},
        {"grid_signal"},
        {"grid_score"},
        {"sampling", "arrays", "cameras"},
        {"grids"},
        {"image", "audio"},
        {"shape", "scene"},
        {"metrics", "plots", "sheets", "meshes"},
        {"open_signal", "common_formats"},
    ],
    "coinr.optimize": [{"search"}, {"refine"}, {"compress"}],
}


def _modules() -> dict[str, Path]:
    """Every module of the package and of the kernels by its name."""
    found = {}
    for folder in ("coinr", "kernels"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found["coinr." * (folder == "kernels") + name] = path
    return found


MODULES = _modules()


def _known(name: str) -> bool:
    return name in MODULES or name == "coinr.engine._C"


@functools.cache
def imports(module: str, source: str) -> set[str]:
    """The modules of the package that a source imports, wherever in it, and by name where it imports them so."""
    package = module if MODULES.get(module, Path()).name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" if _known(f"{base}.{alias.name}") else base for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            name = node.args[0]
            found |= {name.value} if isinstance(name, ast.Constant) else set()
    return {name for name in found if name.split(".")[0] == "coinr"} - {module}


def upward(module: str, source: str) -> set[str]:
    """What a module imports from a room of its own floor or of a higher one."""
    wrong = set()
    for package, floors in FLOORS.items():
        floor_of = {f"{package}.{room}": number for number, rooms in enumerate(floors) for room in rooms}

        def room(name: str, package: str = package) -> str:
            return ".".join(name.split(".")[: package.count(".") + 2])

        here = room(module)
        if here in floor_of:
            wrong |= {
                name
                for name in imports(module, source)
                if room(name) in floor_of and room(name) != here and floor_of[room(name)] >= floor_of[here]
            }
    return wrong


def doors(module: str, source: str) -> set[str]:
    """The extension and the kernels, where a module outside the engine imports them."""
    if module.startswith(("coinr.engine", "coinr.kernels")):
        return set()
    return {
        name for name in imports(module, source) if name.startswith(("coinr.engine._C", "coinr._C", "coinr.kernels"))
    }


def networks(source: str) -> bool:
    """Whether a source uses ``torch.nn``."""
    for node in ast.walk(ast.parse(source)):
        names = {alias.name for alias in node.names} if isinstance(node, ast.Import | ast.ImportFrom) else set()
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{name}" for name in names}
        if any(f"{name}.".startswith("torch.nn.") for name in names):
            return True
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch.nn"):
            return True
    return False


def _sources(under: str = "coinr") -> list[tuple[str, str]]:
    return [(name, path.read_text()) for name, path in MODULES.items() if name == under or name.startswith(f"{under}.")]


def test_every_room_is_on_a_floor():
    for package, floors in FLOORS.items():
        depth = package.count(".") + 1
        rooms = {name.split(".")[depth] for name in MODULES if name.startswith(f"{package}.")}
        assert rooms - {"__main__", "kernels"} == set().union(*floors), package


def test_nothing_imports_upward():
    assert {(name, other) for name, source in _sources() for other in upward(name, source)} == set()


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        name: {other for other in imports(name, source) if other in MODULES}
        for name, source in _sources()
        if name not in ("coinr", "coinr.kernels")  # they pass on what their modules define
    }
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


def test_the_engine_is_the_door_to_the_extension_and_to_the_kernels():
    assert {name: found for name, source in _sources() if (found := doors(name, source))} == {}


def test_the_kernels_know_nothing_of_the_package():
    below = {"coinr.kernels", *(name for name in MODULES if name.startswith("coinr.kernels."))}
    assert {(name, other) for name, source in _sources("coinr.kernels") for other in imports(name, source)} <= {
        (name, other) for name in below for other in below
    }


def test_the_codec_runs_no_network():
    assert [name for name, source in _sources("coinr.codec") if networks(source)] == []


def test_the_engine_and_its_reference_are_imported_without_torch():
    """The tests of the extension run under sanitizers, where torch cannot be loaded."""
    seen, ahead = set(), ["coinr.engine", "coinr.engine.philox", "coinr.engine.seeded_dictionary"]
    while ahead:
        name = ahead.pop()
        seen.add(name)
        source = MODULES[name].read_text()
        assert not re.search(r"^\s*(import|from) torch\b", source, re.MULTILINE), name
        ahead += sorted((imports(name, source) & set(MODULES)) - seen)


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("coinr.codec.api", "from coinr.fitting import fit", {"coinr.fitting"}),
        ("coinr.codec.api", "def f():\n    from coinr.signals.image import signal", {"coinr.signals.image.signal"}),
        ("coinr.codec.api", "from coinr.sensitivity.calibration import SensitivityInfo", set()),
        ("coinr.codec.coders.exact", "from coinr.codec.api import inspect", {"coinr.codec.api"}),
        ("coinr.engine.omp", "import coinr.networks", {"coinr.networks"}),
        ("coinr.errors", "from . import progress", {"coinr.progress"}),
    ],
)
def test_an_import_upward_is_seen(module, source, found):
    assert upward(module, source) == found


@pytest.mark.parametrize(
    "source",
    [
        "from coinr.engine import _C",
        "import coinr.engine._C",
        "from coinr import kernels",
        "def f():\n    return importlib.import_module('coinr.kernels')",
    ],
)
def test_another_door_is_seen(source):
    assert doors("coinr.codec.coders.exact", source)


@pytest.mark.parametrize(
    "source", ["import torch.nn as nn", "from torch import nn", "from torch.nn import Module", "torch.nn.Module"]
)
def test_a_network_is_seen(source):
    assert networks(source)
    assert not networks(source.replace("nn", "nested"))
