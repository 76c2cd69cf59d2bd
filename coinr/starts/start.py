"""A learned start and its file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from coinr.codec.format.tensor_table import Limits
from coinr.codec.reference import ReferenceNetwork
from coinr.codec.state_dict_file import StateDictFile
from coinr.codec.tensors import Layout
from coinr.errors import FormatError, InputError
from coinr.files.reading import name_in_errors, read_bytes
from coinr.files.writing import write_atomic
from coinr.inputs.arguments import checked, describe_value
from coinr.networks.description import Description
from coinr.runtime.ambient import independent

if TYPE_CHECKING:
    from torch import Tensor

    from coinr.networks import Network

#: The end of the name of a start's file.
START_FILE = ".start.coinr"

#: The key of its metadata, and what the names of rates begin with.
KEY, RATES = "start", "rates."

#: Digits of a hash that files hold of the start that they need.
DIGITS = 8

_LONGEST_NAME = 64


class StartMeta(NamedTuple):
    """What the metadata of a start say: its name, the method that learned it, and the kind of signals."""

    name: str
    method: str
    signal: str

    @classmethod
    def read(cls, meta: Mapping[str, Any]) -> StartMeta:
        """Return what the metadata of a file say.

        Raises
        ------
        InputError
            If they are those of another file.
        FormatError
            If they do not describe a start.
        """
        if KEY not in meta:
            raise InputError("the file holds no start")
        said = meta[KEY]
        values = [said.get(key) for key in cls._fields] if isinstance(said, dict) else []
        texts = [value for value in values if isinstance(value, str)]
        if len(texts) != len(cls._fields):
            raise FormatError(f"{KEY} metadata {str(said)[:60]} does not name a start, its method and its signals")
        try:
            check_name(texts[0])
        except InputError as error:
            raise FormatError(f"{KEY} metadata: {error}") from error
        return cls(*texts)


def is_name(name: str) -> bool:
    """Return whether a name is one printable line of 1 to 64 characters, without blanks around it."""
    return 1 <= len(name) <= _LONGEST_NAME and name.isprintable() and name == name.strip()


def check_name(name: str) -> None:
    """Raise InputError unless :func:`is_name`."""
    if not is_name(name):
        raise InputError(
            f"the name of a start is one line of 1 to {_LONGEST_NAME} characters, got {describe_value(name)}"
        )


class Start:
    """A learned start: the weights of a network that fits begin at, and the rates of their first steps.

    :func:`~coinr.learn_start` and :func:`~coinr.open_start` return it. It is what its file decodes to, so a start and
    its file have the same hash.

    Attributes
    ----------
    blob : bytes
        Its file.
    name : str
        Its name, which files that need it hold.
    method : str
        How it was learned: ``"maml"``, ``"reptile"`` or ``"joint"``.
    signal : str
        The kind of signals that it was learned from: ``"image"``, ``"audio"``, ``"shape"`` or ``"scene"``.
    hash : str
        Of its weights, 32 hexadecimal digits.
    arrays : mapping of str to ndarray
        Its weights.
    steps : int
        Number of first steps at learned rates; 0 without rates.
    """

    @checked
    def __init__(self, blob: bytes, limits: Limits | None = None) -> None:
        self.blob = blob
        with StateDictFile(blob, None, limits) as opened:
            self.name, self.method, self.signal = StartMeta.read(opened.meta)
            self._meta = {key: value for key, value in opened.meta.items() if key != KEY}
            opened.check_all()
            layouts = {name: Layout(dtype, shape) for name, (dtype, shape) in opened.array_layouts().items()}
            values = {name: opened.array(name) for name in layouts}
        self.arrays = {name: value for name, value in values.items() if not name.startswith(RATES)}
        self._rates = {name.removeprefix(RATES): values[name] for name in values if name not in self.arrays}
        weights = {name: layouts[name] for name in self.arrays}
        self._description = Description(
            self._meta,
            {name: (layout.dtype.name, layout.shape) for name, layout in weights.items()},
            lambda name: float(values[name][0]),
        )
        self.steps = self._check_rates(layouts)
        self.hash = ReferenceNetwork(self.arrays).digest(weights.items()).hex()

    def __repr__(self) -> str:
        rates = f", {self.steps} steps at learned rates" if self.steps else ""
        return f"<Start: {self.name!r} ({self.short_hash}) of a {self.kind} for {self.signal}, by {self.method}{rates}>"

    def _check_rates(self, layouts: Mapping[str, Layout]) -> int:
        """Return the number of steps; raise FormatError unless rates suit the weights."""
        steps = {rates.shape[0] for rates in self._rates.values() if rates.ndim}
        for name, rates in self._rates.items():
            suits = name in self.arrays and rates.shape[1:] == self.arrays[name].shape and rates.ndim
            if not suits or len(steps) > 1 or layouts[RATES + name].dtype.name != "float32":
                raise FormatError(f"the rates {RATES + name!r} do not suit the weights of the start")
        return max(steps, default=0)

    @property
    def short_hash(self) -> str:
        """Return the first digits of the hash, which files that need the start hold."""
        return self.hash[:DIGITS]

    @property
    def kind(self) -> str:
        """Return the kind of its network."""
        return self._description.kind

    @property
    def config(self) -> dict[str, Any]:
        """Return sizes and settings of its network."""
        return self._description.config

    @independent
    def network(self) -> Network:
        """Return a new network with the start's weights."""
        import torch

        from coinr.networks import network_from

        return network_from(self._meta, {name: torch.from_numpy(array.copy()) for name, array in self.arrays.items()})

    @cached_property
    def rates(self) -> dict[str, Tensor]:
        """Return the learned rates float32 [steps, ...] by the names of weights.

        Step k of a fit moves a weight by −rates[name][k] times its gradient; a weight without rates stays.
        """
        import torch

        return {name: torch.from_numpy(rates.copy()) for name, rates in self._rates.items()}

    @checked
    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the start's file, whole or not at all, and return its bytes.

        Raises
        ------
        InputError
            If the path does not end in ``.start.coinr``.
        OSError
            If it cannot be written.
        """
        check_start_file(Path(path))
        write_atomic(path, self.blob)
        return len(self.blob)


def check_start_file(path: Path) -> None:
    """Raise InputError unless a path has the end by which starts are found."""
    if not path.name.lower().endswith(START_FILE) or path.name.lower() == START_FILE:
        raise InputError(f"{path}: the file of a start must end in {START_FILE}")


@independent
@checked
def open_start(file: bytes | str | os.PathLike[str], *, limits: Limits | None = None) -> Start:
    """Return the start in a coinr file.

    Parameters
    ----------
    file : bytes or path
        The file's bytes, or its place.
    limits : Limits, optional
        As for :func:`~coinr.decode_state_dict`.

    Raises
    ------
    InputError
        If the file is sound and holds no start.
    FormatError
        If its metadata and tensors do not describe a start, or the bytes are no coinr file.
    CoinrError
        As :func:`~coinr.decode_state_dict`.
    """
    with name_in_errors(file):
        return Start(file if isinstance(file, bytes) else read_bytes(file, FormatError), limits)
