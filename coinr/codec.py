"""The codec's doors: a state dict to bytes and back. It knows no network and no signal."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import escape
from numbers import Real
from pathlib import Path
from typing import Any

import torch

from coinr import container
from coinr._backend import select
from coinr.calibration import Calibration, sensitivities
from coinr.coders import EXACT, LOSSLESS
from coinr.container import File
from coinr.errors import FormatError, InputError
from coinr.files import write_atomic
from coinr.metadata import check_meta
from coinr.profiles import Coded, Settings, Task, cost, encode, encode_relative, plan
from coinr.relative import Base
from coinr.report import Report, make_report
from coinr.source import Source, read_state_dict
from coinr.table import ALIAS, Header, Limits, Record

DEFAULT_PROFILE = "auto"

_WITHOUT_LOSS = {LOSSLESS.id, EXACT.id}


def encode_state_dict(
    sd: Mapping[str, Any],
    seed: int = 0,
    *,
    profile: str = DEFAULT_PROFILE,
    tolerance: float | None = None,
    lossless: Sequence[str] = (),
    nonfinite: str = "error",
    base: Mapping[str, Any] | None = None,
    seeds: int = 1,
    calibrate: Calibration | None = None,
    errors: Mapping[str, float] | None = None,
    meta: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    backend: str | None = None,
    threads: int | None = None,
    **options: Any,
) -> bytes:
    """A coinr file that decodes to the state dict: same names, order, shapes, dtypes and ties.

    The same input, options and backend give the same bytes. A ``_metadata`` attribute is not stored.

    Parameters
    ----------
    sd
        Names to dense tensors or arrays, on any device, of any real, complex, integer or bool dtype. Integers
        and bools are stored bit-exactly.
    seed
        Key of the random dictionaries, ``0 … 2**64 - 1``.
    profile
        ``"auto"``: each tensor by the coder that takes fewest bytes. ``"direct"``: trellis quantisation and adaptive
        arithmetic coding. ``"sparse"``: every matrix in a seeded dictionary, well coded. ``"paper"``: the published
        method (:mod:`coinr.profiles.paper`). ``"uniform"``: one step a tensor and Brotli. ``"lossless"``: bit-exact.
    tolerance
        Every lossy tensor decodes with ‖ŵ − w‖ ≤ tolerance · ‖w‖, verified before this returns, and most of them much
        finer, by a rule that serves equal harm (:mod:`coinr.profiles.allocation`); tensors that cannot meet it are
        stored with more bits or losslessly. None: 0.15 for ``auto``, ``direct`` and ``sparse``, else the profile's own
        rule.
    lossless
        Shell patterns of names to store bit-exactly, for example ``("*.running_*",)``.
    nonfinite
        ``"error"``: NaN or Inf is a StateDictError. ``"lossless"``: such tensors are stored bit-exactly.
    base
        A state dict that whoever decodes the file has too: a common start, an earlier checkpoint. Tensors that it
        holds under the same name, dtype and shape are stored as differences to it where that takes fewer bytes at the
        same allowed error. The file names it by a hash; decoding needs it.
    seeds
        How many seeds to try, from ``seed`` on; the smallest file is kept, the first of equals. Only tensors whose
        coder depends on the seed are coded anew.
    calibrate
        What tells which errors matter, for activation-aware rounding in ``auto`` and ``direct``: ``(module, inputs)``,
        called with single samples, or a callable that returns layers' inputs by the names of their weights; see
        :func:`coinr.calibration.sensitivities`. Needs a tolerance, or a profile that has one.
    errors
        Root mean squared errors of single tensors, by name, that take the place of what the rule says (rows that do
        less harm weigh less); ``tolerance`` still bounds the relative error. Needs one, as ``calibrate`` does.
    meta
        JSON values stored with the file, at most 1 MiB.
    limits
        What decoding the file may cost; the default is what readers allow by default.
    backend, threads
        Of the pursuit, as for :func:`coinr.omp`. Decoding, also to verify, runs on the default backend, which the
        environment variable ``COINR_BACKEND`` changes; it gives the same bits on each.
    **options
        The profile's own: ``bits`` (uniform); ``kind``, ``M``, ``s``, ``bits``, ``sorted``, ``rule`` (paper);
        ``form``, ``n``, ``M``, ``beam`` (sparse).

    Raises
    ------
    StateDictError
        If the state dict is nested or holds what cannot be coded; the message names the key.
    InputError
        If an argument is out of range.
    LimitError
        If a reader with these limits would refuse the file.
    BackendError
        If the backend cannot run here.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
        raise InputError(f"seed must be an integer in 0 … 2**64 - 1, not {seed!r}")
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= (1 << 64) - seed:
        raise InputError(f"seeds must be an integer ≥ 1 with seed + seeds at most 2**64, not {seeds!r}")
    if tolerance is not None and not (isinstance(tolerance, Real) and 0 <= tolerance < float("inf")):
        raise InputError(f"tolerance must be a number ≥ 0, not {tolerance!r}")
    if nonfinite not in ("error", "lossless"):
        raise InputError(f"nonfinite must be 'error' or 'lossless', not {nonfinite!r}")
    if isinstance(lossless, str) or not all(isinstance(pattern, str) for pattern in lossless):
        raise InputError(f"lossless must be a sequence of patterns, not {lossless!r}")
    select(backend)
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads must be an integer ≥ 1, not {threads!r}")
    checked_meta = check_meta(meta)
    sources = read_state_dict(sd)
    stored = [source for source in sources if source.alias is None]
    patterns = tuple(lossless) + tuple(
        escape(sources[source.alias].name)
        for source in sources
        if source.alias is not None and any(fnmatchcase(source.name, pattern) for pattern in lossless)
    )
    settings = Settings(seed, tolerance, backend, threads, options)
    known = None if base is None else Base(base)
    told = None if calibrate is None else sensitivities(calibrate, sd, seed)
    tasks = plan(stored, profile, settings, patterns, nonfinite, told, errors)
    coded = _encode_tasks(tasks, profile, settings, known)
    blob = min(
        (_assemble(sources, way, seed, checked_meta, known, limits) for way in _ways(coded)),
        key=len,
    )
    seeded = [row for row, chosen in enumerate(coded) if chosen.params.work(stored[row].layout)]
    for other in range(seed + 1, seed + seeds) if seeded else ():
        again = _encode_tasks([tasks[row] for row in seeded], profile, replace(settings, seed=other), known)
        mixed = list(coded)
        for row, chosen in zip(seeded, again, strict=True):
            mixed[row] = chosen
        blob = min(blob, _assemble(sources, mixed, other, checked_meta, known, limits), key=len)
    return blob


def decode_state_dict(
    blob: bytes | bytearray | memoryview,
    *,
    base: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    limits: Limits | None = None,
) -> OrderedDict[str, torch.Tensor]:
    """The state dict of a coinr file, bit for bit the same on every machine and backend.

    Parameters
    ----------
    blob
        Bytes of a whole file; they may come from a stranger.
    base
        The state dict that the file is relative to, if it is; not looked at otherwise.
    device
        Where the tensors go. Tensors that were tied are one tensor.
    limits
        What decoding may cost; :class:`Limits` by default.

    Raises
    ------
    CoinrError
        FormatError, VersionError, TruncatedError or ChecksumError for bytes that are no intact coinr file,
        LimitError where the limits are too low, BaseError where the file is relative to a state dict that was not given
        or is another one; never a partial result.
    """
    target = _device(device)
    file = _open(blob, limits, base)
    file.check_base()
    tensors: list[torch.Tensor] = []
    for row, record in enumerate(file.header.records):
        tensors.append(file.decode(row, target) if record.alias is None else tensors[record.alias])
    return OrderedDict((record.name, tensor) for record, tensor in zip(file.header.records, tensors, strict=True))


def decode_tensor(
    blob: bytes | bytearray | memoryview,
    name: str,
    *,
    base: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    limits: Limits | None = None,
) -> torch.Tensor:
    """One tensor of a coinr file, without decoding the others; arguments and errors as for decode_state_dict.

    Raises
    ------
    InputError
        If the file has no tensor of that name.
    """
    target = _device(device)
    file = File(blob, limits, None if base is None else Base(base))
    row = file.row(name)
    alias = file.header.records[row].alias
    row = row if alias is None else alias
    record = file.header.records[row]
    (limits or Limits()).check(Header(file.header.seed, (record,)))
    return file.decode(row, target)


def inspect(blob: bytes | bytearray | memoryview, *, limits: Limits | None = None) -> Report:
    """What the file holds, from its header: prints as a table, ``.to_dict()`` gives plain values."""
    return make_report(File(blob, limits))


def read_meta(blob: bytes | bytearray | memoryview, *, limits: Limits | None = None) -> dict[str, Any]:
    """The metadata that was given to encode_state_dict."""
    return File(blob, limits).header.meta


def verify(
    blob: bytes | bytearray | memoryview, *, base: Mapping[str, Any] | None = None, limits: Limits | None = None
) -> Report:
    """Check all of a file: header, checksums, and that each tensor decodes; holds one tensor at a time.

    Raises
    ------
    CoinrError
        As decode_state_dict.
    """
    file = _open(blob, limits, base)
    file.check_base()
    for row, record in enumerate(file.header.records):
        if record.alias is None:
            file.decode(row, torch.device("cpu"))
    return make_report(file)


def save(path: str | os.PathLike[str], sd: Mapping[str, Any], **arguments: Any) -> int:
    """Encode a state dict into a file, atomically; arguments as for encode_state_dict. Returns bytes written."""
    blob = encode_state_dict(sd, **arguments)
    write_atomic(path, blob)
    return len(blob)


def load(path: str | os.PathLike[str], **arguments: Any) -> OrderedDict[str, torch.Tensor]:
    """Decode a file; arguments as for decode_state_dict."""
    return decode_state_dict(Path(path).read_bytes(), **arguments)


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error


def _encode_tasks(tasks: list[Task], profile: str, settings: Settings, base: Base | None) -> list[Coded]:
    coded = encode(tasks, profile, settings)
    return coded if base is None else encode_relative(tasks, coded, base, profile, settings)


def _ways(coded: list[Coded]) -> Iterator[list[Coded]]:
    """The tensors each in its smallest form, then all of them by one and the same coder or without loss."""
    yield coded
    for coder in sorted({rival.coder for chosen in coded for rival in chosen.rivals} - _WITHOUT_LOSS):
        allowed = _WITHOUT_LOSS | {coder}
        yield [
            min((rival for rival in chosen.rivals if rival.coder in allowed), key=cost, default=chosen)
            for chosen in coded
        ]


def _assemble(
    sources: list[Source], coded: list[Coded], seed: int, meta: dict[str, Any], base: Base | None, limits: Limits | None
) -> bytes:
    """The file of the coded tensors, as a reader with these limits accepts it."""
    rest = iter(coded)
    records, payloads = [], []
    for source in sources:
        if source.alias is None:
            chosen = next(rest)
            payloads.append(chosen.payload)
            records.append(Record(source.name, source.layout, chosen.coder, chosen.params, len(chosen.payload)))
        else:
            payloads.append(b"")
            records.append(Record(source.name, source.layout, ALIAS, None, 0, source.alias))
    header = Header(seed, tuple(records), meta)
    if base is not None and header.relative():
        header = replace(header, base=base.digest(header.relative()))
    (limits or Limits()).check(header)
    blob = container.write(header, payloads)
    try:
        File(blob, limits)
    except FormatError as error:
        raise InputError(f"this state dict cannot be stored: {error}") from error
    return blob


def _open(blob: bytes | bytearray | memoryview, limits: Limits | None, base: Mapping[str, Any] | None) -> File:
    file = File(blob, limits, None if base is None else Base(base))
    (limits or Limits()).check(file.header)
    return file
