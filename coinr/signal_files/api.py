"""Signals into coinr files, and out of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from coinr.codec.api import encode_state_dict, keep_output, make_encoder
from coinr.codec.format.tensor_table import Limits
from coinr.codec.options import DEFAULT_PROFILE, EncodeOptions
from coinr.codec.profiles.tasks import keeps_output, uses_calibration
from coinr.codec.reading import inspect
from coinr.codec.state_dict_file import StateDictFile
from coinr.errors import FormatError, InputError
from coinr.files.reading import name_in_errors
from coinr.inputs.arguments import checked
from coinr.inputs.naming import check_patterns
from coinr.networks import Network, network_from, network_meta
from coinr.networks.precision import single_state
from coinr.runtime.ambient import independent
from coinr.signal_files.image import ImageFile
from coinr.signal_files.output import meter_of_signal
from coinr.signal_files.reading import FILES, kind_in, torch_network
from coinr.signal_files.signal_file import SignalFile
from coinr.signals.signal import Signal
from coinr.starts.find import give_start, needed_meta
from coinr.starts.start import Start


@independent
@checked
def pack_signal(
    network: nn.Module, signal: Signal, seed: int = 0, *, start: Start | None = None, **options: Any
) -> bytes:
    """Return a coinr file of the signal that ``network`` shows in place of ``signal``.

    Parameters
    ----------
    network : nn.Module
        One of :data:`coinr.networks.NETWORKS` that was fitted to the signal; stored in single precision.
    signal : Signal
        What it was fitted to; the file says how to sample it.
    start : Start, optional
        The start of the fit: tensors are stored as differences to it, so decoding needs the start. Where the file is
        smaller without it, and no size is given, it is stored without.
    seed, **options
        As for :func:`~coinr.encode_state_dict`, without ``meta``. An output error is measured at the signal's samples,
        and the file keeps it. That of the default adds at most a twentieth to the squared error of the fit, which is
        0.2 dB of a PSNR or SNR, but is never below -80 dB; for a shape it is -50 dB. ``canonical`` is as
        :func:`with_canonical` decides.

    Raises
    ------
    InputError
        If the network does not show such a signal or is not that of the start, or an option is out of range.
    """
    meta = signal_meta(network, signal)
    state = _state_of(network, meta)

    def pack(meta: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
        options = with_canonical(options)
        requested = EncodeOptions.from_arguments({**options, "seed": seed, "meta": meta})
        if "meta" in options or not keeps_output(requested):
            return encode_state_dict(state, seed, meta=meta, **options)
        return keep_output(make_encoder(state, requested), *meter_of_signal(signal, meta, state))

    return pack(meta, options) if start is None else _pack_relative(pack, network, meta, options, start)


def _pack_relative(
    pack: Callable[[Mapping[str, Any], Mapping[str, Any]], bytes],
    network: nn.Module,
    meta: Mapping[str, Any],
    options: Mapping[str, Any],
    start: Start,
) -> bytes:
    """Return what ``pack`` makes of metadata and options with differences to a start, or without if that is smaller.

    Raises
    ------
    InputError
        If the network is not that of the start, or there is another base.
    """
    if options.get("base") is not None:
        raise InputError("give start or base, not both")
    if not isinstance(network, Network) or (network.kind, network.config) != (start.kind, start.config):
        raise InputError(f"the network is not that of the start {start.name!r}: a {start.kind} of {start.config}")
    relative = pack({**meta, **needed_meta(start)}, {**options, "base": start.arrays})
    if inspect(relative, limits=options.get("limits")).base is None:
        return pack(meta, options)
    if options.get("target_bytes") is not None or options.get("target_bits") is not None:
        return relative
    return min(relative, pack(meta, options), key=len)


def with_canonical(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of an encoding; of a signal's network, in canonical order unless they say whether.

    The order stays where others refer to it or ask for tensors as they are: ``base``, ``lossless``, a callable
    ``calibrate``, and the profiles that have no use for it.

    Raises
    ------
    InputError
        If ``lossless`` is not a collection of patterns.
    """
    lossless = options.get("lossless", ())
    check_patterns(lossless)
    refers = options.get("base") is not None or callable(options.get("calibrate")) or len(lossless) > 0
    canonical = not refers and uses_calibration(options.get("profile", DEFAULT_PROFILE))
    return {"canonical": canonical, **options}


@independent
@checked
def pack_image(
    network: nn.Module, height: int, width: int, seed: int = 0, *, start: Start | None = None, **options: Any
) -> bytes:
    """Return a coinr file of the picture that ``network`` shows at ``height`` × ``width`` pixels, 8 bits a channel.

    It is :func:`pack_signal` where the picture is not at hand.

    Parameters
    ----------
    network : nn.Module
        One of :data:`coinr.networks.NETWORKS` with 2 inputs and 1 to 4 outputs; stored in single precision.
    height, width : int
        Size of the picture in pixels.
    start : Start, optional
        As for :func:`pack_signal`.
    seed, **options
        As for :func:`~coinr.encode_state_dict`, without ``meta``; ``canonical`` is as :func:`with_canonical` decides.

    Raises
    ------
    InputError
        If the network does not show a picture, or an option is out of range.
    """
    meta = _check_meta(ImageFile, network, {"image": [height, width]})
    state = _state_of(network, meta)

    def pack(meta: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
        return encode_state_dict(state, seed, meta=meta, **with_canonical(options))

    return pack(meta, options) if start is None else _pack_relative(pack, network, meta, options, start)


def signal_meta(network: nn.Module, signal: Signal) -> dict[str, Any]:
    """Return the metadata of a file of ``network`` and ``signal``.

    Raises
    ------
    InputError
        If the network does not show such a signal.
    """
    return _check_meta(FILES[signal.kind], network, signal.meta())


def _check_meta(kind: type[SignalFile], network: nn.Module, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a signal and its network; raise InputError unless a file of this kind can hold both."""
    whole = {**meta, **network_meta(network)}
    try:
        kind.from_meta(network, whole)
    except FormatError as error:
        raise InputError(str(error)) from None
    return whole


def _state_of(network: nn.Module, meta: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Return the tensors of a network in single precision, after a check that it can be rebuilt from them."""
    state = single_state(network.state_dict())
    try:
        network_from(meta, state)
    except FormatError as error:
        raise InputError(f"what would be written cannot be opened: {error}") from None
    return state


@independent
@checked
def open_file(
    file: bytes | str | os.PathLike[str], *, start: Start | None = None, limits: Limits | None = None
) -> SignalFile:
    """Return the signal in a coinr file; decodes the network, renders nothing.

    Parameters
    ----------
    file : bytes or path
        The file's bytes, or its place.
    start : Start, optional
        The start that the file was coded relative to, see :func:`~coinr.learn_start`; ignored by other files. By
        default it is looked for beside the file, in ``COINR_STARTS`` and in the package, see :mod:`coinr.starts.find`.
    limits : Limits, optional
        As for :func:`~coinr.decode_state_dict`.

    Returns
    -------
    SignalFile
        :class:`ImageFile`, :class:`AudioFile`, :class:`ShapeFile` or :class:`SceneFile`.

    Raises
    ------
    InputError
        If the file is sound and holds weights only.
    FormatError
        If its metadata and tensors do not describe a signal, or the bytes are no coinr file.
    CoinrError
        As :func:`~coinr.decode_state_dict`.
    """
    with StateDictFile(file, None, limits) as opened, name_in_errors(file):
        give_start(opened, file, start)
        return kind_in(opened.meta).from_meta(torch_network(opened), opened.meta)


@independent
@checked
def open_image(blob: bytes, *, start: Start | None = None, limits: Limits | None = None) -> ImageFile:
    """Return the picture in a coinr file; as :func:`open_file`, and InputError if it holds something else."""
    file = open_file(blob, start=start, limits=limits)
    if not isinstance(file, ImageFile):
        raise InputError(f"the file holds a signal of kind {file.kind} and no image")
    return file


@independent
@checked
def load_network(
    file: bytes | str | os.PathLike[str], *, start: Start | None = None, limits: Limits | None = None
) -> nn.Module:
    """Return the network in a coinr file, with its weights; arguments as of :func:`open_file`.

    Raises
    ------
    InputError
        If the file is sound and does not say what network its tensors are of.
    FormatError
        If its metadata and tensors do not describe a network, or the bytes are no coinr file.
    CoinrError
        As :func:`~coinr.decode_state_dict`.
    """
    with StateDictFile(file, None, limits) as opened, name_in_errors(file):
        give_start(opened, file, start)
        return torch_network(opened)
