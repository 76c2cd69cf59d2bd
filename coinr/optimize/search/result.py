"""What a search found: a file, and what was tried on the way as a table and a plot."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from coinr.errors import InputError
from coinr.files.writing import write_atomic
from coinr.inputs.arguments import checked
from coinr.runtime.optional import optional


@dataclass(frozen=True)
class SearchResult:
    """A file that keeps a score or a size.

    Attributes
    ----------
    blob : bytes
        The file.
    score : float
        The metric of what it decodes to.
    full_score : float
        The metric of the state dict itself.
    errors : dict of str to float
        Root mean squared error that each tensor was allowed: the argument ``errors`` of
        :func:`~coinr.encode_state_dict` that, with a ``tolerance`` of 1, makes the file.
    calls : int
        How often the metric was called.
    curve : list of dict
        Every file that was judged: ``bytes``, ``score``, in order of bytes.
    """

    blob: bytes = field(repr=False)
    score: float
    full_score: float
    errors: dict[str, float] = field(repr=False)
    calls: int
    curve: list[dict[str, float]] = field(repr=False)

    def table(self) -> str:
        """The curve as text: bytes, score, and how much of the full score is lost; the file itself is marked."""
        lines = [f"{'bytes':>10}  {'score':>10}  {'lost':>10}"]
        for row in self.curve:
            mark = "  *" if row["bytes"] == len(self.blob) and row["score"] == self.score else ""
            lines.append(f"{row['bytes']:>10.0f}  {row['score']:>10.4f}  {self.full_score - row['score']:>10.4f}{mark}")
        return "\n".join(lines)

    @checked
    def plot(self, path: str | os.PathLike[str]) -> None:
        """Write the curve as a picture; the suffix says which kind.

        Raises
        ------
        InputError
            If matplotlib cannot write that kind of file.
        DependencyError
            If it is not installed.
        """
        figure = optional("matplotlib.figure").Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot([row["bytes"] for row in self.curve], [row["score"] for row in self.curve], "o-", label="tried")
        axes.plot([len(self.blob)], [self.score], "*", markersize=14, label=f"{len(self.blob)} bytes")
        axes.axhline(self.full_score, color="grey", linestyle="--", label="the state dict itself")
        axes.set_xlabel("bytes")
        axes.set_ylabel("score")
        axes.grid(alpha=0.3)
        axes.legend()
        buffer = BytesIO()
        try:
            figure.savefig(buffer, format=Path(path).suffix.lstrip(".").lower() or None, dpi=150)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
        write_atomic(path, buffer.getvalue())
