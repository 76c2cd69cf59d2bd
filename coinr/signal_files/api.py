"""Signals into coinr files, and out of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from coinr.codec.api import encode_state_dict, keep_output, make_encoder
from coinr.codec.format.tensor_table import Limits
from coinr.codec.options import DEFAULT_PROFILE, EncodeOptions
from coinr.codec.profiles.tasks import keeps_output, uses_calibration
from coinr.codec.state_dict_file import StateDictFile
from coinr.errors import FormatError, InputError
from coinr.files.reading import name_in_errors
from coinr.inputs.arguments import checked
from coinr.networks import network_from, network_meta
from coinr.networks.precision import single_state
from coinr.runtime.ambient import independent
from coinr.signal_files.image import ImageFile
from coinr.signal_files.output import meter_of_signal
from coinr.signal_files.reading import FILES, kind_in, torch_network
from coinr.signal_files.signal_file import SignalFile
from coinr.signals.signal import Signal


@independent
@checked
def pack_signal(network: nn.Module, signal: Signal, seed: int = 0, **options: Any) -> bytes:
    """Return a coinr file of the signal that ``network`` shows in place of ``signal``.

    Parameters
    ----------
    network : nn.Module
        One of :data:`coinr.networks.NETWORKS` that was fitted to the signal; stored in single precision.
    signal : Signal
        What it was fitted to; the file says how to sample it.
    seed, **options
        As for :func:`~coinr.encode_state_dict`, without ``meta``. An output error, also that of the default, is
        measured at the signal's samples, and the file keeps it. ``canonical`` is as :func:`with_canonical` decides.

    Raises
    ------
    InputError
        If the network does not show such a signal, or an option is out of range.
    """
    meta = signal_meta(network, signal)
    state = _state_of(network, meta)
    options = with_canonical(options)
    requested = EncodeOptions.from_arguments({**options, "seed": seed, "meta": meta})
    if "meta" in options or not keeps_output(requested):
        return encode_state_dict(state, seed, meta=meta, **options)
    return keep_output(make_encoder(state, requested), meter_of_signal(signal, meta, state))


def with_canonical(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of an encoding; of a signal's network, in canonical order unless they say whether.

    The order stays where others refer to it or ask for tensors as they are: ``base``, ``lossless``, a callable
    ``calibrate``, and the profiles that have no use for it.
    """
    refers = options.get("base") is not None or callable(options.get("calibrate")) or bool(options.get("lossless"))
    canonical = not refers and uses_calibration(options.get("profile", DEFAULT_PROFILE))
    return {"canonical": canonical, **options}


@independent
@checked
def pack_image(network: nn.Module, height: int, width: int, seed: int = 0, **options: Any) -> bytes:
    """Return a coinr file of the picture that ``network`` shows at ``height`` × ``width`` pixels, 8 bits a channel.

    It is :func:`pack_signal` where the picture is not at hand.

    Parameters
    ----------
    network : nn.Module
        One of :data:`coinr.networks.NETWORKS` with 2 inputs and 1 to 4 outputs; stored in single precision.
    height, width : int
        Size of the picture in pixels.
    seed, **options
        As for :func:`~coinr.encode_state_dict`, without ``meta``; ``canonical`` is as :func:`with_canonical` decides.

    Raises
    ------
    InputError
        If the network does not show a picture, or an option is out of range.
    """
    meta = _check_meta(ImageFile, network, {"image": [height, width]})
    return encode_state_dict(_state_of(network, meta), seed, meta=meta, **with_canonical(options))


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
def open_file(file: bytes | str | os.PathLike[str], *, limits: Limits | None = None) -> SignalFile:
    """Return the signal in a coinr file; decodes the network, renders nothing.

    Parameters
    ----------
    file : bytes or path
        The file's bytes, or its place.
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
        return kind_in(opened.meta).from_meta(torch_network(opened), opened.meta)


@independent
@checked
def open_image(blob: bytes, *, limits: Limits | None = None) -> ImageFile:
    """Return the picture in a coinr file; as :func:`open_file`, and InputError if it holds something else."""
    file = open_file(blob, limits=limits)
    if not isinstance(file, ImageFile):
        raise InputError(f"the file holds a signal of kind {file.kind} and no image")
    return file


@independent
@checked
def load_network(file: bytes | str | os.PathLike[str], *, limits: Limits | None = None) -> nn.Module:
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
        return torch_network(opened)
