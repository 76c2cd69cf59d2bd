"""Signals out of coinr files, without torch where that is possible: pictures, sounds and shapes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from coinr.codec.state_dict_file import StateDictFile
from coinr.errors import CoinrError
from coinr.files.reading import name_in_errors
from coinr.inputs.naming import only_name
from coinr.networks.description import ArrayNetwork, Description, family_in
from coinr.networks.families import FAMILIES, MlpFamily
from coinr.runtime.ambient import independent
from coinr.signal_files.audio import AudioFile
from coinr.signal_files.image import ImageFile
from coinr.signal_files.scene import SceneFile
from coinr.signal_files.shape import ShapeFile
from coinr.signal_files.signal_file import SignalFile
from coinr.starts.find import give_start
from coinr.starts.start import KEY, RATES, Start

if TYPE_CHECKING:
    from coinr.networks import Network

#: Every kind of signal that a file can hold.
FILES: Mapping[str, type[SignalFile]] = {file.kind: file for file in (ImageFile, AudioFile, ShapeFile, SceneFile)}


@independent
def open_rendering(file: bytes | str | os.PathLike[str], start: Start | None = None) -> SignalFile:
    """Return the signal in a coinr file as :func:`coinr.open_file` does; torch is loaded for scenes alone."""
    with StateDictFile(file, None, None) as opened, name_in_errors(file):
        give_start(opened, file, start)
        kind = kind_in(opened.meta)
        family, _ = family_in(opened.meta)
        network = _array_network(opened) if isinstance(family, MlpFamily) else torch_network(opened)
        return kind.from_meta(network, opened.meta)


def kind_in(meta: Mapping[str, Any]) -> type[SignalFile]:
    """Return the kind of the signal that metadata name.

    Raises
    ------
    InputError
        If they name none.
    FormatError
        If they name several.
    """
    none = "the file holds weights and no signal; unpack it instead"
    return FILES[only_name(FILES, meta, none, "the metadata names several signals")]


def torch_network(opened: StateDictFile) -> Network:
    """Return the network in a file as a module of torch."""
    from coinr.networks import network_from

    opened.check_all()
    return network_from(opened.meta, {name: opened[name] for name in _weights(opened)})


def _weights(opened: StateDictFile) -> list[str]:
    """Return the names of the network's tensors; a start has rates beside them."""
    return [name for name in opened if KEY not in opened.meta or not name.startswith(RATES)]


def _array_network(opened: StateDictFile) -> ArrayNetwork:
    opened.check_all()
    layouts = opened.array_layouts()
    return ArrayNetwork(opened.meta, {name: (layouts[name][0].name, opened.array(name)) for name in layouts})


def describe(opened: StateDictFile) -> tuple[str | None, dict[str, Any] | None]:
    """Return the signal in words, and kind and arguments of the network, as far as the header names them.

    Of the tensors, only single numbers such as WIRE's frequency are decoded.
    """
    if not FAMILIES.keys() & opened.meta.keys():
        return None, None
    tensors = opened.array_layouts()
    layouts = {name: (tensors[name][0].name, tensors[name][1]) for name in _weights(opened)}
    try:
        network = Description(opened.meta, layouts, lambda name: float(opened.array(name)[0]))
        signals = [FILES[kind].from_meta(network, opened.meta).describe() for kind in FILES if kind in opened.meta]
    except CoinrError as error:
        return f"metadata that cannot be used: {error}", None
    return ", ".join(signals) or None, {"kind": network.kind, **network.config}
