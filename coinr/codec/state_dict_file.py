"""A coinr file whose tensors are read one by one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from numpy.typing import NDArray

from coinr.codec.format.container import File
from coinr.codec.format.tensor_table import Header, Limits
from coinr.codec.reading import decode_entries, with_output_error
from coinr.codec.reference import ReferenceNetwork
from coinr.codec.report import Report, make_report
from coinr.engine.threads import available_threads
from coinr.errors import FormatError, InputError
from coinr.files.random_access import FileBytes
from coinr.files.reading import name_in_errors
from coinr.files.streams import open_source
from coinr.inputs.arguments import checked
from coinr.inputs.dtypes import DType
from coinr.inputs.state_dicts import StateDict
from coinr.runtime.ambient import independent

if TYPE_CHECKING:
    import torch


class StateDictFile(Mapping[str, "torch.Tensor"]):
    """The state dict in a coinr file, each tensor of which is read and decoded when it is taken, and not kept.

    A mapping of names to tensors, in the order of the file. Names that are tied give equal tensors, not one tensor.
    Several threads may take tensors at once.

    Attributes
    ----------
    meta
        The metadata that was given to :func:`coinr.encode_state_dict`.

    Raises
    ------
    KeyError
        If the file has no tensor of the name that is taken.
    CoinrError
        As :func:`coinr.decode_tensor`, when a tensor is taken; :class:`~coinr.InputError` if the file is closed.
    """

    def __init__(self, path: bytes | str | os.PathLike[str], base: StateDict | None, limits: Limits | None) -> None:
        available_threads()  # a bad setting raises whether this file needs threads or not
        self._path = path
        self._limits = limits or Limits()
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self._source: bytes | FileBytes = stack.enter_context(open_source(path, FormatError))
            stack.enter_context(name_in_errors(path))
            self._file = File(self._source, self._limits, None if base is None else ReferenceNetwork(base))
            self._stack = stack.pop_all()
        self._rows = {record.name: row for row, record in enumerate(self._file.header.records)}
        self._closed = False
        self.meta: dict[str, Any] = self._file.header.meta

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; its names and its report remain."""
        self._closed = True
        if isinstance(self._source, FileBytes):
            self._source.close()
        self._stack.close()

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    @independent
    def __getitem__(self, name: str) -> torch.Tensor:
        from coinr.inputs.tensors import array_to_tensor

        row = self._rows[name]
        return array_to_tensor(self._decode(row), self._file.header.records[row].layout.dtype)

    @independent
    def array(self, name: str) -> NDArray[Any]:
        """Return a tensor as an array: of NumPy's dtype, or of the bits of one that NumPy lacks; errors as there."""
        return self._decode(self._rows[name])

    def _decode(self, row: int) -> NDArray[Any]:
        header = self._file.header
        tied_to = header.records[row].tied_to
        row = row if tied_to is None else tied_to
        with name_in_errors(self._path):
            if self._closed:
                raise InputError("the file is closed")
            self._limits.check(Header(header.seed, (header.records[row],)))
            return self._file.decode(row)

    def layouts(self) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Return dtype and shape of each tensor, by name, without reading any."""
        from coinr.inputs.tensors import torch_dtype

        return {name: (torch_dtype(dtype), shape) for name, (dtype, shape) in self.array_layouts().items()}

    def array_layouts(self) -> dict[str, tuple[DType, tuple[int, ...]]]:
        """Return what :meth:`layouts` does, without torch."""
        return {record.name: (record.layout.dtype, record.layout.shape) for record in self._file.header.records}

    @property
    def is_relative(self) -> bool:
        """Return whether tensors are differences to a reference network."""
        return bool(self._file.header.reference_hash)

    def is_relative_to(self, base: StateDict) -> bool:
        """Return whether a network is the one that tensors are differences to."""
        header, reference = self._file.header, ReferenceNetwork(base)
        found = all(reference.find(name, layout) is not None for name, layout in header.differences())
        return found and header.find_hash(reference) == header.reference_hash

    def use_base(self, base: StateDict) -> None:
        """Decode with a reference network from now on."""
        self._file.use_reference(ReferenceNetwork(base))

    def check_all(self) -> None:
        """Raise LimitError unless all tensors together are within the limits; check the reference network, too.

        Raises
        ------
        ReferenceNetworkError
            If the file holds differences to another network than the given one.
        """
        with name_in_errors(self._path):
            self._limits.check(self._file.header)
            self._file.check_reference()

    @independent
    def verify(self) -> Report:
        """Check the whole file as :func:`coinr.verify` does; hold one tensor at a time."""
        self.check_all()
        for row, record in enumerate(self._file.header.records):
            if record.tied_to is None:
                self._decode(row)
        return self.report()

    def report(self, original: StateDict | None = None) -> Report:
        """Return what :func:`coinr.inspect` says of the file, and of its output error if the original is given."""
        report = make_report(self._file)
        if original is None:
            return report
        self.check_all()
        with name_in_errors(self._path):
            return with_output_error(report, original, lambda: decode_entries(self._file))


@independent
@checked
def open_state_dict(
    path: str | os.PathLike[str], *, base: StateDict | None = None, limits: Limits | None = None
) -> StateDictFile:
    """Open a coinr file whose tensors are read one by one: only the header is read now.

    Use it in a ``with`` block, or close it.

    Parameters
    ----------
    path
        Of the file, which must not change while it is open.
    base
        The state dict of the reference network, for a file with differences; ignored otherwise.
    limits
        What decoding one tensor may cost; :class:`Limits` by default.

    Raises
    ------
    CoinrError
        As :func:`coinr.inspect`; messages name the file.
    OSError
        If it cannot be read.
    """
    return StateDictFile(path, base, limits)
