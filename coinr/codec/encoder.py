"""The encoder of a state dict: the tensors are read and checked once, and encoded any number of times."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from glob import escape

from coinr.codec.allocate.default_errors import rule_errors
from coinr.codec.allocate.output_error import ErrorPlan, find_gains, plan_errors
from coinr.codec.candidates import Candidate, cost
from coinr.codec.coders import EXACT, LOSSLESS, LosslessParams, Params
from coinr.codec.distortion import NO_DISTORTION
from coinr.codec.effort import EFFORTS
from coinr.codec.format import container
from coinr.codec.format.metadata import check_meta
from coinr.codec.format.shared_table import can_share
from coinr.codec.format.tensor_table import (
    TIED,
    Header,
    Limits,
    TensorRecord,
    check_names,
    check_shape,
)
from coinr.codec.options import OUTPUT_ERROR_DB, EncodeOptions, check_tolerance
from coinr.codec.profiles.difference import encode_differences
from coinr.codec.profiles.tasks import (
    Task,
    check_options,
    encode,
    keeps_output,
    least_work,
    lossy_entries,
    make_tasks,
)
from coinr.codec.reference import ReferenceNetwork
from coinr.codec.state_dict import read_state_dict
from coinr.engine.threads import limited_threads
from coinr.errors import FormatError, InputError, LimitError
from coinr.files.spool import Payload, Spool, SpooledBytes
from coinr.files.streams import Target, write_target
from coinr.inputs.arguments import checked
from coinr.inputs.naming import check_patterns
from coinr.inputs.state_dicts import StateDict, to_state_dict
from coinr.sensitivity.calibration import SensitivityInfo
from coinr.sensitivity.gains import Gains
from coinr.sensitivity.probe import Guess

_WITHOUT_LOSS = {LOSSLESS.id, EXACT.id}


@dataclass(frozen=True)
class _Spooled:
    """A candidate whose payload is in a temporary file. It has no alternatives."""

    coder: int
    params: Params
    payload: SpooledBytes
    alternatives: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class _Content:
    """A file that is not written yet.

    Attributes
    ----------
    start
        Its first bytes, up to the table.
    payloads
        Of all entries; nothing for tied ones.
    """

    header: Header
    start: bytes
    payloads: list[Payload]

    @property
    def size(self) -> int:
        return container.file_size(self.header, self.start)

    def parts(self) -> Iterator[bytes]:
        return container.parts(self.header, self.start, self.payloads)


class Encoder:
    """Encode a state dict, several times with different errors if need be.

    It runs no network, so it ignores ``calibrate``: callers set ``sensitivity`` before encoding where they have
    measured it. It ignores tolerance, errors and targets of the options, too: :meth:`encode` is given the first two.

    Parameters
    ----------
    sd
        As for :func:`~coinr.encode_state_dict`.
    options
        Defaults if None.

    Attributes
    ----------
    entries
        All entries of the state dict, in its order.
    stored
        Those that are not tied to an earlier one.
    lossy_entries
        Those of them that need not be stored bit-exactly.
    sensitivity
        What is known of the effect of errors on the output, beside the weights.
    known
        What the layers compute, where callers know it; else it is inferred from the weights.

    Raises
    ------
    CoinrError
        As encode_state_dict.
    """

    @checked
    def __init__(self, sd: StateDict, options: EncodeOptions | None = None) -> None:
        options = options or EncodeOptions()
        check_options(options)
        self.options = options
        self.meta = check_meta(options.meta)
        self.entries = read_state_dict(to_state_dict(sd))
        self.stored = [entry for entry in self.entries if entry.tied_to is None]
        self.limits = options.limits or Limits()
        self._check_sizes()
        check_patterns(options.lossless, [entry.name for entry in self.entries])
        exact = tuple(options.lossless) + tuple(
            escape(self.entries[entry.tied_to].name)
            for entry in self.entries
            if entry.tied_to is not None and any(fnmatchcase(entry.name, pattern) for pattern in options.lossless)
        )
        self.lossy_entries = lossy_entries(self.stored, options.profile, exact, options.nonfinite)
        self.reference = None if options.base is None else ReferenceNetwork(options.base)
        self.sensitivity = SensitivityInfo()
        self.known: Guess | None = None

    def _check_sizes(self) -> None:
        """Raise InputError or LimitError for sizes, shapes, names or numbers of tensors that no coder can change."""
        empty = Candidate(LOSSLESS.id, LosslessParams(), b"", NO_DISTORTION)
        header = self._header([empty] * len(self.stored), 0)
        self.limits.check(header)
        try:
            check_names(header)
        except FormatError as error:
            raise InputError(f"this state dict cannot be stored: {error}") from error
        for entry in self.stored:
            try:
                check_shape(entry.layout.shape)
            except FormatError as error:
                raise InputError(f"tensor {entry.name!r} cannot be stored: {error}") from error

    @property
    def parameters(self) -> int:
        """Return the number of floating-point parameters; complex ones count twice."""
        return sum(entry.count for entry in self.stored if entry.allows_loss)

    def rule(self) -> dict[str, float]:
        """Return the error of each lossy tensor by the rule at a tolerance of 1, by name."""
        errors = rule_errors(self.lossy_entries, self.sensitivity)
        return {entry.name: error for entry, error in zip(self.lossy_entries, errors, strict=True)}

    @cached_property
    def gains(self) -> Gains | None:
        """Return how the output follows errors of the weights, predicted from them; None where that is not known."""
        return find_gains(self.stored, self.known)

    def plan(self, output_error_db: float | None = None) -> ErrorPlan:
        """Return the errors that keep the output at a level, -50 dB by default, and what they rest on."""
        level = OUTPUT_ERROR_DB if output_error_db is None else output_error_db
        return plan_errors(self.lossy_entries, self.gains, self.sensitivity, level)

    def encode(self, tolerance: float | None, errors: Mapping[str, float] | None = None) -> bytes:
        """Encode the file at a tolerance; ``errors`` replaces the rule for single tensors.

        Without both, ``auto``, ``direct`` and ``sparse`` keep the output error of the options.
        """
        with limited_threads(self.options.threads):
            return b"".join(self._encode(self._plan_of(tolerance, errors), None).parts())

    def encode_for_output(self, output_error_db: float) -> bytes:
        """Encode the file so that the error of the output is predicted to be at a level."""
        with limited_threads(self.options.threads):
            return b"".join(self._encode(self.plan(output_error_db), None).parts())

    def save(self, file: Target, tolerance: float | None, errors: Mapping[str, float] | None = None) -> int:
        """Encode the file at a tolerance and write it to a path, atomically, or to an open file; return its bytes.

        Payloads of large tensors wait in a temporary file, not in memory.
        """
        beside = file if isinstance(file, str | os.PathLike) else None
        with limited_threads(self.options.threads), Spool(beside) as spool:
            content = self._encode(self._plan_of(tolerance, errors), spool)
            write_target(file, content.parts())
            return content.size

    def _plan_of(self, tolerance: float | None, errors: Mapping[str, float] | None) -> ErrorPlan:
        """Return the errors that a tolerance stands for; without one, and without errors, those for the output."""
        if keeps_output(self.options.changed(tolerance=tolerance, errors=errors)):
            return self.plan(self.options.output_error_db)
        return ErrorPlan(tolerance, "as requested", errors or {}, self.sensitivity)

    def _encode(self, plan: ErrorPlan, spool: Spool | None) -> _Content:
        check_tolerance(plan.tolerance)
        settings = self.options.changed(tolerance=plan.tolerance)
        tasks = make_tasks(self.stored, self.lossy_entries, settings, plan.sensitivity, plan.errors)
        # tensors that the reference has too may be differences, which need no dictionary
        alone = [
            t for t in tasks if self.reference is None or self.reference.find(t.entry.name, t.entry.layout) is None
        ]
        self.limits.check_work(least_work(alone, settings), "at least ")
        chosen = self._encode_tasks(tasks, settings, spool)
        content = min(self._assemble_all(_alternatives(chosen), settings.seed), key=lambda one: one.size)
        seeded = [row for row, candidate in enumerate(chosen) if candidate.params.work(self.stored[row].layout)]
        for other in range(settings.seed + 1, settings.seed + self.options.seeds) if seeded else ():
            again = self._encode_tasks([tasks[row] for row in seeded], replace(settings, seed=other), spool)
            mixed = list(chosen)
            for row, candidate in zip(seeded, again, strict=True):
                mixed[row] = candidate
            with suppress(LimitError):  # the file of the first seed is within the limits
                content = min(content, self._assemble(mixed, other), key=lambda one: one.size)
        return content

    def _encode_tasks(
        self, tasks: list[Task], settings: EncodeOptions, spool: Spool | None
    ) -> list[Candidate | _Spooled]:
        """Return a candidate for each task. Payloads of large tensors go to the spool, if there is one."""
        if self.reference is not None:
            # a difference to a reference stands alone
            return [*encode_differences(tasks, encode(tasks, settings), self.reference, settings)]
        large = [task for task in tasks if task.entry.is_large]
        found: dict[str, Candidate | _Spooled] = {}
        for task in large:
            found[task.entry.name] = _encode_alone(task, settings, spool)
        others = [task for task in tasks if not task.entry.is_large]
        for task, other in zip(others, encode(others, settings, self.sensitivity.hessian), strict=True):
            found[task.entry.name] = other
        return [found[task.entry.name] for task in tasks]

    def _assemble_all(self, choices: Iterable[list[Candidate | _Spooled]], seed: int) -> list[_Content]:
        """Return the files of those choices that the limits allow; LimitError where they allow none."""
        files, refused = [], None
        for chosen in choices:
            try:
                files.append(self._assemble(chosen, seed))
            except LimitError as error:
                refused = refused or error
        if refused is not None and not files:
            raise refused
        return files

    def _assemble(self, chosen: list[Candidate | _Spooled], seed: int) -> _Content:
        """Return the file of a candidate for each tensor, as a reader with these limits accepts it."""
        header = self._header(chosen, seed)
        rest = iter(chosen)
        payloads: list[Payload] = [next(rest).payload if entry.tied_to is None else b"" for entry in self.entries]
        shared = None
        if self.reference is not None:
            shared = self.reference.shared if can_share(header, self.reference.shared) else None
            header = replace(header, is_shared=shared is not None)
            if header.is_shared or header.differences():
                header = replace(header, reference_hash=header.find_hash(self.reference))
        self.limits.check(header)
        effort = EFFORTS[self.options.effort]
        start = container.write_start(header, not effort.all_coders, shared)
        if effort.decodes:
            try:
                container.read_start(start, self.limits, self.reference)
            except FormatError as error:
                raise InputError(f"this state dict cannot be stored: {error}") from error
        return _Content(header, start, payloads)

    def _header(self, chosen: Sequence[Candidate | _Spooled], seed: int) -> Header:
        rest = iter(chosen)
        records = []
        for entry in self.entries:
            if entry.tied_to is None:
                one = next(rest)
                records.append(TensorRecord(entry.name, entry.layout, one.coder, one.params, len(one.payload)))
            else:
                records.append(TensorRecord(entry.name, entry.layout, TIED, None, 0, entry.tied_to))
        return Header(seed, tuple(records), self.meta)


def _encode_alone(task: Task, settings: EncodeOptions, spool: Spool | None) -> Candidate | _Spooled:
    (one,) = encode([task], settings)
    return one if spool is None else _Spooled(one.coder, one.params, spool.put(one.payload))


def _alternatives(chosen: list[Candidate | _Spooled]) -> Iterator[list[Candidate | _Spooled]]:
    """Yield the tensors each in its smallest form, then all of them by one and the same coder or without loss."""
    yield chosen
    coders = {other.coder for candidate in chosen for other in candidate.alternatives}
    for coder in sorted(coders - _WITHOUT_LOSS):
        allowed = _WITHOUT_LOSS | {coder}
        yield [
            min((other for other in candidate.alternatives if other.coder in allowed), key=cost, default=candidate)
            for candidate in chosen
        ]
