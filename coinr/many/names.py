"""Names of the outputs of many sources in one folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from coinr.errors import InputError


def output_names(sources: Sequence[Path], suffix: str) -> list[str]:
    """Return the name of the output of each source in the folder, with ``/`` between its parts.

    It is that of the source with another suffix. Where two would be one, all get the folders in which they differ:
    ``runs/1/model.pt`` and ``runs/2/model.pt`` give ``1/model`` and ``2/model``. Those that differ in their suffix
    alone keep it: ``a.png`` and ``a.jpg`` give ``a.png.coinr`` and ``a.jpg.coinr``.

    Raises
    ------
    InputError
        If there is no source, or one is given twice.
    """
    if not sources:
        raise InputError("give at least one source, got none")
    places = [os.path.abspath(source) for source in sources]
    times = Counter(places)
    for source, place in zip(sources, places, strict=True):
        if times[place] > 1:
            raise InputError(f"{source}: is given twice")
    paths = [Path(place) for place in places]
    if len({_stem(path) for path in paths}) == len(paths):
        return [_stem(path) + suffix for path in paths]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    stems = [(path.relative_to(root).parent / _stem(path)).as_posix() for path in paths]
    count = Counter(stems)
    wholes = [path.relative_to(root).as_posix() for path in paths]
    return [(whole if count[stem] > 1 else stem) + suffix for stem, whole in zip(stems, wholes, strict=True)]


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else path.stem
