"""The commands that pack and unpack weights, and those that describe and verify a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coinr.cli.messages import profile_keys
from coinr.cli.options import (
    COINR_FILE,
    codec_arguments,
    codec_options,
    echo_json,
    echo_notes,
    examples,
    json_option,
    option_group,
    quiet_option,
    show_command_progress,
)
from coinr.cli.outputs import check_output, echo_written, output_beside, output_option
from coinr.errors import CoinrError, FormatError, InputError
from coinr.progress import finish

if TYPE_CHECKING:
    from coinr.codec.report import Report


#: The name under which a coinr file's metadata holds that of the .safetensors file it was made from.
_SAFETENSORS = "safetensors"

#: Options that name a network which both sides have; :func:`_read_base` reads it.
_base_option = option_group(
    click.option(
        "--base",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Model file of a network that both sides have.  [default: none]",
    ),
    click.option(
        "--base-key",
        metavar="NAME",
        help="The entry of the checkpoint given with --base that is the state dict.  [default: the whole file]",
    ),
)


def _read_base(base: Path | None, base_key: str | None) -> Mapping[str, Any] | None:
    """Return the network that the values of :func:`_base_option` name, if any.

    Raises
    ------
    click.UsageError
        If there is a key and no file.
    InputError, OSError
        As :func:`coinr.files.state_dicts.read_state_dict_file`.
    """
    if base is None:
        if base_key is not None:
            raise click.UsageError("--base-key needs --base")
        return None
    from coinr.files.state_dicts import read_state_dict_file

    try:
        return read_state_dict_file(base, base_key)
    except InputError as error:
        raise InputError(
            str(error).replace("; give key=", "; give base_key=").replace(" or key=", " or base_key=")
        ) from error


@click.command(
    no_args_is_help=True,
    epilog=profile_keys()
    + examples(
        "coinr pack model.safetensors                         writes model.coinr, unless there is one",
        "coinr pack model.safetensors -o model.coinr",
        "coinr pack model.pt -o model.coinr --tolerance 0.01 --seed 7",
        "coinr pack model.pt -o model.coinr --target-bytes 20000",
        "coinr pack model.npz -o model.coinr --profile uniform -O bits=10",
        "coinr pack run.ckpt -o model.coinr --key state_dict --strip-prefix module.",
        "coinr pack tuned.safetensors -o tuned.coinr --base start.safetensors",
    ),
)
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@output_option("The .coinr file", "MODEL with .coinr")
@click.option(
    "--target-bytes",
    type=click.IntRange(1),
    help="In place of --tolerance: the largest file that is allowed.  [default: none]",
)
@click.option(
    "--target-bits",
    type=click.FloatRange(0, min_open=True),
    help="The same in bits for each floating-point parameter.  [default: none]",
)
@click.option(
    "--key",
    metavar="NAME",
    help="The entry of a checkpoint that is the state dict, with dots between levels: model, ema.model, models.0.  "
    "[default: the whole file]",
)
@click.option(
    "--strip-prefix",
    metavar="PREFIX",
    help="Take this off the names that begin with it, such as module. or _orig_mod.  [default: names stay]",
)
@click.option(
    "--no-metadata",
    is_flag=True,
    help="Leave out the metadata of a .safetensors file.  [default: it is stored, for unpack to write back]",
)
@codec_options
@_base_option
@json_option
@quiet_option
def pack(
    model: Path,
    output: Path | None,
    key: str | None,
    strip_prefix: str | None,
    no_metadata: bool,
    target_bytes: int | None,
    target_bits: float | None,
    base: Path | None,
    base_key: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Store the state dict in MODEL as a coinr file.

    The format of MODEL is detected from its content, not from its suffix: .safetensors, what torch.save writes (.pt
    .pth .ckpt .bin), .npz or .npy. It must hold tensors and plain values only: no code in it is ever run. For a
    checkpoint with several entries, --key names the state dict.
    """
    given = {"--target-bytes": target_bytes, "--target-bits": target_bits, "--tolerance": options["tolerance"]}
    if len(several := [name for name, value in given.items() if value is not None]) > 1:
        raise click.UsageError(f"{' and '.join(several)} exclude each other")
    output = output or output_beside(model, COINR_FILE)
    check_output(output, (COINR_FILE,), model, base)
    arguments = codec_arguments(options)
    from coinr.codec.api import encode_state_dict, inspect
    from coinr.files.state_dicts import read_state_dict_file
    from coinr.files.writing import write_atomic

    show_command_progress()
    known = _read_base(base, base_key)
    sd = read_state_dict_file(model, key, strip_prefix)
    meta = None if no_metadata else _foreign_metadata(model)
    blob = encode_state_dict(sd, base=known, meta=meta, target_bytes=target_bytes, target_bits=target_bits, **arguments)
    write_atomic(output, blob)
    totals = inspect(blob).totals
    if as_json:
        echo_json({"file": str(output), **totals})
    else:
        rate = f", {totals['bits_per_parameter']:.2f} bits per parameter" if totals["parameters"] else ""
        finish()
        click.echo(f"{output}: {len(blob)} bytes for {totals['decoded_bytes']}{rate}")


def _foreign_metadata(model: Path) -> dict[str, Any] | None:
    """Return the metadata that a coinr file keeps of a model file: that of .safetensors, unless it says nothing."""
    from coinr.codec.format.metadata import check_meta
    from coinr.files.state_dicts import PLAIN_METADATA
    from coinr.files.weight_formats import read_safetensors_metadata

    metadata = read_safetensors_metadata(model)
    if metadata in ({}, PLAIN_METADATA):
        return None
    try:
        return check_meta({_SAFETENSORS: metadata})
    except InputError as error:
        raise InputError(f"{model}: its metadata cannot be stored; give --no-metadata ({error})") from error


def _metadata_to_write(meta: Mapping[str, Any], output: Path) -> tuple[dict[str, str] | None, list[str]]:
    """Return the metadata for a .safetensors file that a coinr file keeps, and notes on what is left out."""
    metadata = meta.get(_SAFETENSORS)
    if metadata is None:
        return None, []
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return None, [f"its metadata {_SAFETENSORS!r} is not text by name and is left out"]
    if output.suffix.lower() != ".safetensors":
        return None, [f"{output.suffix} has no place for the metadata of the .safetensors file that was packed"]
    return metadata, []


@click.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr unpack model.coinr                             writes model.safetensors, unless there is one",
        "coinr unpack model.coinr -o model.pt",
        "coinr unpack tuned.coinr -o tuned.safetensors --base start.safetensors",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@output_option("The model file", "FILE with .safetensors")
@_base_option
@quiet_option
@json_option
def unpack(file: Path, output: Path | None, base: Path | None, base_key: str | None, as_json: bool) -> None:
    """Give back the state dict in FILE as .safetensors, .pt, .pth or .npz (the suffix decides)."""
    from coinr.codec.api import decode_state_dict, read_meta
    from coinr.files.reading import name_in_errors, read_bytes
    from coinr.files.state_dicts import STATE_DICT_SUFFIXES, write_state_dict_file

    named, output = output is not None, output or output_beside(file, ".safetensors")
    check_output(output, STATE_DICT_SUFFIXES, file, base)
    show_command_progress()
    known = _read_base(base, base_key)
    with name_in_errors(file):
        blob = read_bytes(file, FormatError)
        sd, meta = decode_state_dict(blob, base=known), read_meta(blob)
    metadata, notes = _metadata_to_write(meta, output)
    write_state_dict_file(output, sd, metadata)
    echo_notes(file, notes)
    if as_json:
        report = {"file": str(output), "bytes": output.stat().st_size, "tensors": len(sd)}
        echo_json(report | ({"notes": notes} if notes else {}))
    elif not named:
        echo_written(output)


@click.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr info photo.coinr",
        "coinr info model.coinr --json",
        "coinr info --backends",
    ),
)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--backends", is_flag=True, help="Instead of a file: what can run the heavy operations here.")
@json_option
def info(file: Path | None, backends: bool, as_json: bool) -> None:
    """Show what FILE holds, from its header alone."""
    if (file is None) != backends:
        raise click.UsageError("give a FILE, or --backends alone")
    if file is None:
        from coinr.engine.backends import backends as known_backends

        rows = known_backends()
        if as_json:
            echo_json(rows)
        else:
            for row in rows:
                state = "usable" if row["usable"] else "cannot run"
                click.echo(f"{row['backend']:<10} {state:<11} {row['detail']}" + ("  (default)" * bool(row["default"])))
        return
    from coinr.codec.api import inspect
    from coinr.files.reading import name_in_errors, read_bytes

    with name_in_errors(file):
        blob = read_bytes(file, FormatError)
        report = inspect(blob)
    signal, network = _described(blob, report)
    colors = "sRGB" if "image" in report.meta else None
    if as_json:
        echo_json({"file": str(file), "signal": signal, "network": network, "colours": colors, **report.to_dict()})
        return
    if signal is not None:
        click.echo(signal)
    if network is not None:
        click.echo(f"network: {', '.join(f'{name} {value}' for name, value in network.items())}")
    if colors is not None:
        click.echo(f"colours: {colors}")
    click.echo(str(report))
    if report.meta:
        click.echo(f"metadata: {json.dumps(report.meta)}")


def _described(blob: bytes, report: Report) -> tuple[str | None, dict[str, Any] | None]:
    """Return the signal in words, and kind and arguments of the network, as far as the header names them."""
    import torch

    from coinr.codec.api import decode_tensor
    from coinr.networks import NETWORKS, network_from
    from coinr.signal_files.api import FILES

    if not NETWORKS.keys() & report.meta.keys():
        return None, None
    try:
        # sizes are enough, but for single numbers such as WIRE's frequency
        tensors = {
            row["name"]: decode_tensor(blob, row["name"])
            if row["shape"] == [1]
            else torch.empty(row["shape"], dtype=getattr(torch, row["dtype"]), device="meta")
            for row in report.tensors
        }
        network = network_from(report.meta, tensors)
        signals = [FILES[kind].from_meta(network, report.meta).describe() for kind in FILES if kind in report.meta]
    except CoinrError as error:
        return f"metadata that cannot be used: {error}", None
    return ", ".join(signals) or None, {"kind": network.kind, **network.config}


@click.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr verify model.coinr && echo intact",
        "coinr verify model.coinr --json",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_base_option
@json_option
@quiet_option
def verify(file: Path, base: Path | None, base_key: str | None, as_json: bool) -> None:
    """Check all of FILE: header, checksums, and that every tensor decodes."""
    from coinr.codec.api import verify as verify_bytes
    from coinr.files.reading import name_in_errors, read_bytes

    show_command_progress()
    known = _read_base(base, base_key)
    try:
        with name_in_errors(file):
            report = verify_bytes(read_bytes(file, FormatError), base=known)
    except CoinrError as error:
        if as_json:
            echo_json({"file": str(file), "ok": False, "error": type(error).__name__, "message": str(error)})
        raise
    if as_json:
        echo_json({"file": str(file), "ok": True, "tensors": len(report.tensors), **report.totals})
    else:
        count = len(report.tensors)
        finish()
        click.echo(f"{file}: intact, {count} tensor{'s' * (count != 1)} in {report.totals['file_bytes']} bytes")
