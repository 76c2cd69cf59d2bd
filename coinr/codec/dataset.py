"""Many coinr files as a data set for training on weights."""

from __future__ import annotations

import operator
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex

import torch
from torch.utils.data import Dataset, get_worker_info

from coinr.codec.api import load
from coinr.codec.format.tensor_table import Limits
from coinr.engine.threads import limited_threads
from coinr.errors import InputError
from coinr.files.reading import check_path
from coinr.inputs.arguments import checked
from coinr.inputs.state_dicts import StateDict, to_state_dict

#: What a transform is given.
Decoded = OrderedDict[str, torch.Tensor]


class StateDictDataset(Dataset[Any]):
    """The state dicts in coinr files, by number: a map-style data set for :class:`torch.utils.data.DataLoader`.

    A file is read and decoded when its item is taken, and not kept. Workers of a DataLoader decode with one thread
    each. Without a transform an item is an ``OrderedDict`` of names to tensors, which ``default_collate`` stacks by
    name where all files have the same names and shapes.

    Parameters
    ----------
    paths
        Of the files; none is opened yet.
    transform
        Makes an item of a state dict. With workers that are not forked it must be picklable: a function of a module.
    base
        The reference network of files that hold differences, for all of them.
    limits
        What decoding one file may cost.

    Raises
    ------
    InputError
        If ``paths`` is no sequence of paths. Taking an item raises the errors of :func:`coinr.load`, and IndexError.
    """

    @checked
    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        transform: Callable[[Decoded], Any] | None = None,
        *,
        base: StateDict | None = None,
        limits: Limits | None = None,
    ) -> None:
        if isinstance(paths, str):
            raise InputError(f"paths must be a sequence of paths, got one: {paths!r:.200}")
        self.paths = [os.fspath(check_path(path)) for path in paths]
        self.transform = transform
        self._base = None if base is None else to_state_dict(base)
        self._limits = limits

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: SupportsIndex) -> Any:
        path = self.paths[operator.index(index)]
        with limited_threads(None if get_worker_info() is None else 1):
            sd = load(path, base=self._base, limits=self._limits)
        return sd if self.transform is None else self.transform(sd)
