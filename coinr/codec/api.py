"""The public functions of the codec that take or give tensors: encode, decode, save and load."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from coinr.codec.canonical import in_order, known_network
from coinr.codec.encoder import Encoder
from coinr.codec.format.container import File
from coinr.codec.format.tensor_table import Header, Limits
from coinr.codec.options import DEFAULT_EFFORT, DEFAULT_PROFILE, OUTPUT_ERROR_DB, EncodeOptions
from coinr.codec.output_control import encode_to_output_error
from coinr.codec.profiles.tasks import keeps_output, uses_calibration
from coinr.codec.rate_control import encode_to_size
from coinr.codec.reading import open_checked
from coinr.codec.reference import ReferenceNetwork
from coinr.engine.threads import available_threads
from coinr.errors import FormatError, InputError, first_line
from coinr.files.random_access import FileBytes
from coinr.files.reading import name_in_errors
from coinr.files.streams import Source, Target, name_of, open_source, write_target
from coinr.inputs.arguments import checked
from coinr.inputs.state_dicts import StateDict, to_state_dict
from coinr.inputs.tensors import array_to_tensor
from coinr.runtime.ambient import independent
from coinr.sensitivity.calibration import Calibration
from coinr.sensitivity.gauss_newton import resolve_calibration
from coinr.sensitivity.known import known_activations
from coinr.sensitivity.output_meter import OutputMeter


@independent
@checked
def encode_state_dict(
    sd: StateDict,
    seed: int = 0,
    *,
    profile: str = DEFAULT_PROFILE,
    effort: str = DEFAULT_EFFORT,
    output_error_db: float | None = None,
    tolerance: float | None = None,
    lossless: Sequence[str] = (),
    nonfinite: str = "error",
    base: StateDict | None = None,
    seeds: int = 1,
    calibrate: Calibration | None = None,
    errors: Mapping[str, float] | None = None,
    target_bytes: int | None = None,
    target_bits: float | None = None,
    meta: Mapping[str, Any] | None = None,
    canonical: bool = False,
    limits: Limits | None = None,
    backend: str | None = None,
    threads: int | None = None,
    **options: Any,
) -> bytes:
    """Encode a state dict as a coinr file that decodes to the same names, order, shapes, dtypes and ties.

    The same input, options and backend give the same bytes. A ``_metadata`` attribute is not stored.

    Parameters
    ----------
    sd
        Names to dense tensors or arrays, on any device, of any real, complex, integer or bool dtype. Integers
        and bools are stored bit-exactly. A :class:`torch.nn.Module` stands for its ``state_dict()``, here and in
        every other argument that is a state dict.
    seed
        Key of the random dictionaries, ``0 … 2**64 - 1``.
    profile
        ``"auto"``: each tensor by the coder that needs fewest bytes. ``"direct"``: trellis quantization and adaptive
        arithmetic coding. ``"sparse"``: every matrix in a seeded dictionary, with an arithmetic coder. ``"paper"``: the
        published method (:mod:`coinr.codec.profiles.paper`). ``"uniform"``: one step a tensor and Brotli.
        ``"lossless"``: bit-exact.
    effort
        How much time ``auto`` and ``direct`` take to save bytes, all within the same errors. ``"fast"``: the direct
        coder with 8 to 32 states and about one pass a tensor. ``"default"``: up to 256 states, and other coders where a
        quick bound says that they may win. ``"best"``: every coder and every form, for ten to thirty times the time.
        Other profiles have one effort and refuse ``"fast"``.
    output_error_db
        How far the output may be off, in dB: the root mean square of its change over the network's domain, as a share
        of its range (largest less smallest value). It is -50 by default in ``auto``, ``direct`` and ``sparse``, where
        ``tolerance``, ``errors`` and targets are not given. The error is predicted from the weights: layers are found
        by names and shapes, the activation is inferred (:mod:`coinr.sensitivity.inference`). With
        ``calibrate=(module, inputs)`` it is measured instead, and the file keeps it. Networks whose structure is not
        recognized get careful errors by kinds of layers.
    tolerance
        In place of it: the scale of all errors, and a bound on the error of each tensor, which is verified:
        ‖ŵ − w‖ ≤ tolerance · ‖w‖. A rule (:mod:`coinr.codec.allocate.default_errors`) sets the error of each tensor by
        its kind of layer. The first hidden matrix gets a twelfth of the tolerance, relative to a typical weight, so
        most tensors stay far below the bound. A tensor that cannot meet it gets more bits, or is stored losslessly.
        Without it, ``uniform`` has 16 bits and ``paper`` a rule of its own.

        Scales, variances and other tensors of one sign or of wide range (:mod:`coinr.codec.elements`) are bounded
        element by element, in every lossy profile: each relative error is at most 1/256 of the tolerance.
    lossless
        Shell patterns of names to store bit-exactly, for example ``("*.running_*",)``; each must match one. Tensors
        whose largest magnitude is not a normal float32 are stored bit-exactly too.
    nonfinite
        ``"error"``: NaN or Inf is a StateDictError. ``"lossless"``: such tensors are stored bit-exactly.
    base
        The state dict of a reference network that the decoder has too: a common start, an earlier checkpoint. A
        tensor with the same name, dtype and shape there is stored as a difference where that takes fewer bytes at the
        same error. The file holds a hash of it; decoding needs the same state dict. A base with statistics, see
        FORMAT.md, "Shared table", also gives names, shapes and dtypes to files of its own layout.
    seeds
        How many seeds to try, from ``seed`` on. The smallest file is kept, the first of equals. Only tensors whose
        coder depends on the seed are coded again.
    calibrate
        What sensitivities are measured with, for activation-aware rounding in ``auto`` and ``direct``: ``(module,
        inputs)``, called with single samples, or a callable that returns layers' inputs by the names of their weights;
        see :func:`coinr.sensitivity.calibration.measure_sensitivity`. Other profiles refuse it without a tolerance.
    errors
        Root mean squared errors of single tensors, by name, in place of the rule's; rows that affect the output less
        weigh less. ``tolerance`` still bounds the relative error, by 0.15 where it is not given.
    target_bytes
        The largest size of the file, in place of ``tolerance``. The file is at most 2 % smaller where some tolerance
        gives such a size.
    target_bits
        The same, as bits per floating-point parameter (complex ones count twice): 8 · size / parameters.
    meta
        JSON values stored with the file, at most 1 MiB.
    canonical
        Bring hidden neurons into canonical order before anything else, in ``auto``, ``direct`` and ``sparse``: biases
        ascend, and signs are those of non-negative biases where the activation is odd or even. Biases of sines are also
        reduced by multiples of their half period. The decoded network is the same function up to rounding, with its
        neurons in other places, and files are smaller (:mod:`coinr.networks.symmetries`). The kind of the network must
        be known: ``sd`` is a module of ``coinr.networks``, or ``meta`` is that of a file that rebuilds it. A ``base``
        and a callable ``calibrate``, which refer to the former order, are refused. Files of signals have this order
        by default, see :func:`coinr.signal_files.api.with_canonical`.
    limits
        What decoding the file may cost; by default what readers allow by default. ``auto`` chooses other coders
        where the smallest file would exceed it.
    backend, threads
        Backend and threads of the pursuit, as for :func:`coinr.omp`. Decoding, also to verify, runs on the default
        backend, which the environment variable ``COINR_BACKEND`` sets; all backends decode the same bits.
    **options
        Options of the profile: ``bits`` (uniform); ``kind``, ``M``, ``s``, ``bits``, ``sorted``, ``rule`` (paper);
        ``form``, ``n``, ``M``, ``beam`` (sparse).

    Raises
    ------
    StateDictError
        If the state dict is nested or holds a value that cannot be coded; the message names the key.
    InputError
        If an argument is out of range.
    LimitError
        If a reader with these limits would refuse the file.
    BackendError
        If the backend cannot run here.
    """
    requested = EncodeOptions(
        seed=seed,
        profile=profile,
        effort=effort,
        output_error_db=output_error_db,
        tolerance=tolerance,
        lossless=lossless,
        nonfinite=nonfinite,
        base=base,
        seeds=seeds,
        calibrate=calibrate,
        errors=errors,
        target_bytes=target_bytes,
        target_bits=target_bits,
        meta=meta,
        canonical=canonical,
        limits=limits,
        backend=backend,
        threads=threads,
        profile_options=options,
    )
    encoder = make_encoder(sd, requested)
    size = requested.target_size(encoder.parameters)
    if size is not None:
        return encode_to_size(encoder.encode, size, encoder.parameters)[0]
    if _is_measured(requested):
        module, inputs = requested.calibrate  # type: ignore[misc]
        return keep_output(encoder, OutputMeter.of_module(module, inputs, to_state_dict(sd)))
    return encoder.encode(tolerance, errors)


def _is_measured(options: EncodeOptions) -> bool:
    """Return whether a module tells the output error that the options ask for."""
    return isinstance(options.calibrate, tuple) and keeps_output(options)


def keep_output(encoder: Encoder, meter: OutputMeter, default: float = OUTPUT_ERROR_DB) -> bytes:
    """Return a file whose output error is at most the level of the encoder's options in dB, or the default.

    The error is what the meter measures.
    """
    options = encoder.options
    level = default if options.output_error_db is None else options.output_error_db

    def measure(blob: bytes) -> float:
        return meter.error_db(decode_state_dict(blob, base=options.base, limits=options.limits))

    return encode_to_output_error(encoder.encode_for_output, measure, level)


def make_encoder(sd: StateDict, options: EncodeOptions) -> Encoder:
    """Return the encoder of a state dict, in canonical order if the options ask for it, with what calibration measures.

    Raises
    ------
    CoinrError
        As encode_state_dict.
    """
    network = known_network(sd, options.meta) if options.canonical else None
    sd = in_order(sd, options)
    encoder = Encoder(sd, options)
    encoder.known = None if network is None else known_activations(network)
    if options.calibrate is not None:
        encoder.sensitivity = resolve_calibration(
            options.calibrate, sd, options.seed, uses_calibration(options.profile)
        )
    return encoder


@independent
@checked
def decode_state_dict(
    blob: bytes | bytearray | memoryview,
    *,
    base: StateDict | None = None,
    device: str | torch.device = "cpu",
    limits: Limits | None = None,
) -> OrderedDict[str, torch.Tensor]:
    """Decode a coinr file to its state dict, bit for bit the same on every machine and backend.

    Parameters
    ----------
    blob
        Bytes of a whole file, which may be untrusted.
    base
        The state dict of the reference network, for a file with differences or a shared table; ignored otherwise.
    device
        The device of the tensors. Tied tensors are one tensor.
    limits
        What decoding may cost; :class:`Limits` by default.

    Raises
    ------
    CoinrError
        FormatError, VersionError, TruncatedError or ChecksumError if the bytes are no intact coinr file. LimitError
        if the file exceeds the limits. ReferenceNetworkError if it holds differences to a network that was not given,
        or to another one. BackendError if ``COINR_THREADS`` is no number of threads. There is no partial result.
    """
    return _decode(blob, base, device, limits)


def _decode(
    data: bytes | bytearray | memoryview | FileBytes,
    base: StateDict | None,
    device: str | torch.device,
    limits: Limits | None,
) -> OrderedDict[str, torch.Tensor]:
    target = _device(device)
    file = open_checked(data, limits, base)
    tensors: list[torch.Tensor] = []
    for row, record in enumerate(file.header.records):
        tensors.append(_decode_row(file, row, target) if record.tied_to is None else tensors[record.tied_to])
    return OrderedDict((record.name, tensor) for record, tensor in zip(file.header.records, tensors, strict=True))


@independent
@checked
def decode_tensor(
    blob: bytes | bytearray | memoryview,
    name: str,
    *,
    base: StateDict | None = None,
    device: str | torch.device = "cpu",
    limits: Limits | None = None,
) -> torch.Tensor:
    """Decode one tensor of a coinr file and none of the others; arguments and errors as for decode_state_dict.

    Raises
    ------
    InputError
        If the file has no tensor of that name.
    """
    target = _device(device)
    available_threads()
    file = File(blob, limits, None if base is None else ReferenceNetwork(base))
    row = file.row(name)
    tied_to = file.header.records[row].tied_to
    row = row if tied_to is None else tied_to
    record = file.header.records[row]
    (limits or Limits()).check(Header(file.header.seed, (record,)))
    return _decode_row(file, row, target)


@independent
@checked
def save(file: Target, sd: StateDict, **arguments: Any) -> int:
    """Encode a state dict into a file and return the bytes written; arguments and errors as for encode_state_dict.

    Large tensors wait in a temporary file once they are coded, unless a target size is given.

    Parameters
    ----------
    file
        A path, which is written atomically: a failure leaves no file behind, or the one before. Or a file that is open
        for binary writing (an ``io.BytesIO``, a socket's file): the bytes go to its position, and it is not flushed or
        closed. Nothing is written before all is encoded, but a failure to write may leave a part.

    Raises
    ------
    InputError
        If ``file`` is closed, or open for text.
    OSError
        If it cannot be written.
    """
    options = EncodeOptions.from_arguments(arguments)
    if options.target_bytes is not None or options.target_bits is not None or _is_measured(options):
        blob = encode_state_dict(sd, **arguments)
        write_target(file, [blob])
        return len(blob)
    return make_encoder(sd, options).save(file, options.tolerance, options.errors)


@independent
@checked
def load(
    file: Source,
    *,
    base: StateDict | None = None,
    device: str | torch.device = "cpu",
    limits: Limits | None = None,
) -> OrderedDict[str, torch.Tensor]:
    """Decode a file; arguments and errors as for decode_state_dict, whose messages name the file.

    Parameters
    ----------
    file
        A path, whose tensors are read one by one, or a file that is open for binary reading: it is read from its
        position to its end.

    Raises
    ------
    InputError
        If ``file`` is closed, or open for text.
    OSError
        If it cannot be read.
    """
    with name_in_errors(name_of(file)), open_source(file, FormatError) as data:
        return _decode(data, base, device, limits)


def _decode_row(file: File, row: int, device: torch.device) -> torch.Tensor:
    array = file.decode(row, device.type)
    return array_to_tensor(array, file.header.records[row].layout.dtype).to(device)


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, dtype=torch.uint8, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device {device!r} cannot be used here: {first_line(error)}") from error
