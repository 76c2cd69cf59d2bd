"""The result of a search: a file, and the files that were tried, as a table and a plot."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from coinr.errors import InputError
from coinr.files.writing import write_atomic
from coinr.inputs.arguments import checked
from coinr.runtime.optional import import_optional


@dataclass(frozen=True)
class SearchResult:
    """A file of a requested score or size.

    Attributes
    ----------
    blob : bytes
        The file.
    score : float
        The score of what it decodes to.
    full_score : float
        The score of the state dict itself.
    errors : dict of str to float
        Limit of the root mean squared error of each tensor: the argument ``errors`` of
        :func:`~coinr.encode_state_dict` that, with a ``tolerance`` of 1, makes the file.
    calls : int
        How often the metric was called.
    curve : list of dict
        ``bytes`` and ``score`` of every file that was evaluated, in order of bytes.
    second_derivatives : str
        ``"used"``, or ``"not used: "`` and the reason: of all parameters together, they make smaller files.
    """

    blob: bytes = field(repr=False)
    score: float
    full_score: float
    errors: dict[str, float] = field(repr=False)
    calls: int
    curve: list[dict[str, float]] = field(repr=False)
    second_derivatives: str = "used"

    def table(self) -> str:
        """Return the curve as text: bytes, score, and the loss of score; the file itself is marked."""
        lines = [f"{'bytes':>10}  {'score':>10}  {'lost':>10}"]
        for row in self.curve:
            mark = "  *" if row["bytes"] == len(self.blob) and row["score"] == self.score else ""
            lines.append(f"{row['bytes']:>10.0f}  {row['score']:>10.4f}  {self.full_score - row['score']:>10.4f}{mark}")
        return "\n".join(lines)

    @checked
    def plot(self, path: str | os.PathLike[str]) -> None:
        """Write the curve as a picture, of the kind that the suffix names.

        Raises
        ------
        InputError
            If matplotlib cannot write that kind of file.
        DependencyError
            If it is not installed.
        """
        figure = import_optional("matplotlib.figure").Figure(figsize=(6, 4), layout="constrained")
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
