"""What a file holds, as a table or as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coinr.codec.coders import CODERS, DICTIONARY
from coinr.codec.format.container import File
from coinr.codec.format.tensor_table import TensorRecord, name_bytes

_COLUMNS = ("name", "shape", "dtype", "coder", "inner", "order", "kind", "n", "M", "s", "B", "bits", "bytes")


@dataclass(frozen=True)
class Report:
    """The content of a coinr file; prints as a table.

    Attributes
    ----------
    tensors
        One dict a tensor: name, shape, dtype, coder, bytes, and for coded vectors kind, n, M, s, B, bits. For the
        coder ``difference``, ``inner`` is the coder of the difference, or ``same``. ``order`` is ``ascending`` where
        the distances between values are stored, as of the biases of a network in canonical order.
    totals
        ``file_bytes``, ``payload_bytes``, ``name_bytes`` (the share of the names and their lengths in the compressed
        header), ``overhead_bytes`` (file less payloads and names), ``parameters`` (floating-point values, complex ones
        count twice), ``bits_per_parameter``, ``decoded_bytes``, ``work`` (dictionary entries that decoding generates).
    base
        Hash of the reference network, in hexadecimal; None without differences, unless the table is shared with it.
    output_error
        Where the original was given: ``db``, the predicted output error in dB (-200 where the output does not change,
        None where the structure of the network is not recognized), and ``basis``, what it rests on.
    notes
        Lines on what the published method could not do: of files of the profile ``paper``, tensors whose rule asks for
        more nonzeros than its condition 2s < n allows.
    """

    version: int
    seed: int
    meta: dict[str, Any]
    tensors: list[dict[str, Any]]
    totals: dict[str, Any]
    base: str | None = None
    output_error: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "version": self.version,
            "seed": self.seed,
            "meta": self.meta,
            "base": self.base,
            "tensors": self.tensors,
            "totals": self.totals,
            "notes": list(self.notes),
        } | ({} if self.output_error is None else {"output_error": self.output_error})

    def __str__(self) -> str:
        rows = [[_cell(tensor.get(column, "")) for column in _COLUMNS] for tensor in self.tensors]
        used = [k for k, column in enumerate(_COLUMNS) if column in ("name", "bytes") or any(row[k] for row in rows)]
        table = [[_COLUMNS[k] for k in used]] + [[row[k] for k in used] for row in rows]
        widths = [max(len(row[k]) for row in table) for k in range(len(used))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        total = self.totals
        lines.append(
            f"{total['file_bytes']} bytes: {total['payload_bytes']} payload, {total['name_bytes']} names, "
            f"{total['overhead_bytes']} overhead; {total['parameters']} parameters"
            + (f" at {total['bits_per_parameter']:.2f} bits" if total["parameters"] else "")
            + f"; seed {self.seed}, format {self.version}"
            + (f"; relative to {self.base}" if self.base else "")
        )
        lines += self.notes
        if self.output_error is not None:
            lines.append(describe_output_error(self.output_error))
        return "\n".join(lines)


def describe_output_error(output_error: Mapping[str, Any]) -> str:
    """Return the predicted output error of a :class:`Report` in one line."""
    db, basis = output_error["db"], output_error["basis"]
    value = "not known" if db is None else f"{db:.1f} dB of its range"
    return f"predicted output error: {value} ({basis})"


def _cell(value: Any) -> str:
    return "x".join(map(str, value)) or "scalar" if isinstance(value, list) else str(value)


def _row(record: TensorRecord, records: tuple[TensorRecord, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": record.name,
        "shape": list(record.layout.shape),
        "dtype": record.layout.dtype.name,
    }
    if record.params is None:
        row |= {"coder": "tied", "tied_to": records[record.tied_to or 0].name}
    else:
        row |= {"coder": CODERS[record.coder].name, **record.params.describe(record.layout)}
    return row | {"bytes": record.length}


def _notes(records: tuple[TensorRecord, ...]) -> tuple[str, ...]:
    if all(record.coder != DICTIONARY.id for record in records):
        return ()
    from coinr.codec.profiles.paper_notes import paper_notes

    return tuple(paper_notes(records))


def make_report(file: File) -> Report:
    """Make the report of a parsed file, from its header alone."""
    header = file.header
    payload = sum(record.length for record in header.records)
    # The table is compressed as a whole: names take the same share of it as before.
    names = 0 if header.is_shared else round(name_bytes(header) * file.table_ratio)
    parameters = sum(
        record.layout.size * record.layout.planes
        for record in header.records
        if record.tied_to is None and (record.layout.dtype.is_floating_point or record.layout.dtype.is_complex)
    )
    decoded_bytes, work = header.cost()
    totals = {
        "file_bytes": file.size,
        "payload_bytes": payload,
        "name_bytes": names,
        "overhead_bytes": file.size - payload - names,
        "parameters": parameters,
        "bits_per_parameter": 8 * file.size / parameters if parameters else None,
        "decoded_bytes": decoded_bytes,
        "work": work,
    }
    tensors = [_row(record, header.records) for record in header.records]
    base = header.reference_hash.hex() or None
    notes = _notes(header.records)
    return Report(header.version, header.seed, header.meta, tensors, totals, base, notes=notes)
