"""The commands that pack and unpack weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coinr.cli.many_files import choose_outputs, made_folder, map_now, processes_for, report_each, report_one
from coinr.cli.many_run import is_many, many_options, pop_many, run_into, run_options
from coinr.cli.messages import profile_keys
from coinr.cli.options import (
    COINR_FILE,
    codec_arguments,
    codec_options,
    echo_notes,
    examples,
    json_option,
    option_group,
    quiet_option,
    show_command_progress,
)
from coinr.cli.outputs import check_output, output_beside, output_option
from coinr.cli.start_options import find_base, read_start, start_option
from coinr.errors import InputError

if TYPE_CHECKING:
    from coinr.codec.report import Report
    from coinr.starts.start import Start

#: A file that exists.
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

#: Options that name a network which both sides have; :func:`read_base` reads it.
base_option = option_group(
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


def read_base(base: Path | None, base_key: str | None) -> Mapping[str, Any] | None:
    """Return the network that the values of :func:`base_option` name, if any.

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
        "coinr pack model.pt -o model.coinr --output-error -60 --seed 7",
        "coinr pack model.pt -o model.coinr --target-bytes 20000",
        "coinr pack model.npz -o model.coinr --profile uniform -O bits=10",
        "coinr pack run.ckpt -o model.coinr --key state_dict --strip-prefix module.",
        "coinr pack tuned.safetensors -o tuned.coinr --base start.safetensors",
        "coinr pack a.pt b.safetensors -o packed/             writes packed/a.coinr and packed/b.coinr",
    ),
)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=FILE)
@output_option("The .coinr file", "MODEL with .coinr", folder=True)
@click.option(
    "--target-bytes",
    type=click.IntRange(1),
    help="In place of --output-error: the largest file that is allowed.  [default: none]",
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
@base_option
@many_options
@json_option
@quiet_option
def pack(
    models: tuple[Path, ...],
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
    """Store the state dict in MODEL as a coinr file; of several, each in its own.

    The format of MODEL is detected from its content, not from its suffix: .safetensors, what torch.save writes (.pt
    .pth .ckpt .bin), .npz or .npy. It must hold tensors and plain values only: no code in it is ever run. For a
    checkpoint with several entries, --key names the state dict.

    Several files are packed on all cores. If one fails, the others go on, and the command ends with 1. In a folder
    given with -o, manifest.jsonl and failures.jsonl say what was made and what failed, and the same command goes on
    where it was ended.
    """
    given = {
        "--target-bytes": target_bytes,
        "--target-bits": target_bits,
        "--tolerance": options["tolerance"],
        "--output-error": options["output_error_db"],
    }
    if len(several := [name for name, value in given.items() if value is not None]) > 1:
        raise click.UsageError(f"{' and '.join(several)} exclude each other")
    many = pop_many(options)
    into = is_many(models, output, many)
    if into:
        outputs = []
    elif len(models) > 1:
        outputs = choose_outputs(models, None, COINR_FILE)
    else:
        outputs = [output or output_beside(models[0], COINR_FILE)]
        check_output(outputs[0], (COINR_FILE,), models[0], base)
    arguments = codec_arguments(options) | {"target_bytes": target_bytes, "target_bits": target_bits}
    show_command_progress()
    known = read_base(base, base_key)
    from coinr.many.models import PackModel, encode_model

    if output is not None and into:
        task = PackModel(key, strip_prefix, not no_metadata, base, base_key, arguments)
        run_into(task, models, output, run_options(many, models, options["threads"]), as_json)
        return
    encode = partial(encode_model, key=key, strip_prefix=strip_prefix, metadata=not no_metadata, base=known)
    if len(models) > 1:
        from coinr.runtime.processes import map_in_processes

        here, there = partial(encode, **arguments), partial(encode, **arguments | {"threads": 1})
        processes = processes_for(models, arguments.get("threads"))
        with closing(map_in_processes(here, there, models, processes)) as blobs:
            pairs = zip(outputs, blobs, strict=True)
            reports = map_now(lambda pair: _write_packed(pair[0], pair[1].result()), pairs)
            report_each("files", models, reports, as_json)
        return
    if outputs[0].exists() and not outputs[0].is_file():  # a pipe or a device cannot be read again
        report_one(_write_packed(outputs[0], encode(models[0], **arguments)), as_json)
    else:
        save = partial(_save_model, models[0], outputs[0], **encode.keywords)
        report_one(save(**arguments), as_json)


def _save_model(
    model: Path, output: Path, *, key: str | None, strip_prefix: str | None, metadata: bool, **arguments: Any
) -> dict[str, Any]:
    """Write the coinr file of a model file, which is not held in memory, and return what is reported of it."""
    from coinr.codec.api import save
    from coinr.codec.state_dict_file import open_state_dict
    from coinr.files.state_dicts import read_state_dict_file
    from coinr.many.models import foreign_metadata

    sd = read_state_dict_file(model, key, strip_prefix)
    save(output, sd, meta=foreign_metadata(model) if metadata else None, **arguments)
    with open_state_dict(output, base=arguments["base"], limits=arguments.get("limits")) as file:
        return _report(output, file.report(sd))


def _write_packed(output: Path, encoded: tuple[bytes, dict[str, Any] | None]) -> dict[str, Any]:
    """Write a coinr file, and return what is reported of it."""
    from coinr.codec.reading import inspect
    from coinr.files.writing import write_atomic

    blob, error = encoded
    write_atomic(output, blob)
    return _report(output, replace(inspect(blob), output_error=error))


def _report(output: Path, report: Report) -> dict[str, Any]:
    from coinr.codec.report import describe_output_error

    error = report.output_error or {}
    totals = report.totals
    rate = f", {totals['bits_per_parameter']:.2f} bits per parameter" if totals["parameters"] else ""
    line = f"{output}: {totals['file_bytes']} bytes for {totals['decoded_bytes']}{rate}"
    return {"file": str(output), **totals, "output_error": error, "line": f"{line}; {describe_output_error(error)}"}


def _metadata_to_write(meta: Mapping[str, Any], output: Path) -> tuple[dict[str, str] | None, list[str]]:
    """Return the metadata for a .safetensors file that a coinr file keeps, and notes on what is left out."""
    from coinr.many.models import SAFETENSORS

    metadata = meta.get(SAFETENSORS)
    if metadata is None:
        return None, []
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return None, [f"its metadata {SAFETENSORS!r} is not text by name and is left out"]
    if output.suffix.lower() != ".safetensors":
        return None, [f"{output.suffix} has no place for the metadata of the .safetensors file that was packed"]
    return metadata, []


@click.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr unpack model.coinr                             writes model.safetensors, unless there is one",
        "coinr unpack model.coinr -o model.pt",
        "coinr unpack tuned.coinr -o tuned.safetensors --base start.safetensors",
        "coinr unpack a.coinr b.coinr -o models/              writes models/a.safetensors and models/b.safetensors",
    ),
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@output_option("The model file", "FILE with .safetensors", folder=True)
@base_option
@start_option
@quiet_option
@json_option
def unpack(
    files: tuple[Path, ...],
    output: Path | None,
    base: Path | None,
    base_key: str | None,
    start_file: Path | None,
    as_json: bool,
) -> None:
    """Give back the state dict in FILE as .safetensors, .pt, .pth or .npz (the suffix decides).

    Of several, each is written as .safetensors. If one fails, the others go on, and the command ends with 1.
    """
    from coinr.files.state_dicts import STATE_DICT_SUFFIXES

    if len(files) > 1:
        outputs = choose_outputs(files, output, ".safetensors")
    else:
        outputs = [output or output_beside(files[0], ".safetensors")]
        check_output(outputs[0], STATE_DICT_SUFFIXES, files[0], base)
    show_command_progress()
    known, start = read_base(base, base_key), read_start(start_file)
    if len(files) > 1:
        with made_folder(output):
            pairs = zip(files, outputs, strict=True)
            report_each("files", files, map_now(lambda pair: _unpack(*pair, known, start), pairs), as_json)
        return
    report = _unpack(files[0], outputs[0], known, start)
    if as_json or output is None:
        report_one(report, as_json)


def _load(file: Path, known: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the tensors in a coinr file, which needs torch."""
    from coinr.codec.api import load

    return load(file, base=known)


def _unpack(file: Path, output: Path, known: Mapping[str, Any] | None, start: Start | None) -> dict[str, Any]:
    """Write the state dict of a coinr file, and return what is reported of it.

    Tensors of a .safetensors file are decoded one by one.
    """
    from coinr.codec.state_dict_file import open_state_dict
    from coinr.files.state_dicts import write_state_dict_file

    with open_state_dict(file, base=known) as opened:
        known = find_base(opened, file, known, start)
        metadata, notes = _metadata_to_write(opened.meta, output)
        opened.check_all()
        sd = opened if output.suffix.lower() in (".safetensors", ".npz") else _load(file, known)
        write_state_dict_file(output, sd, metadata)
        count = len(opened)
    echo_notes(file, notes)
    size = output.stat().st_size
    report = {"file": str(output), "bytes": size, "tensors": count, "line": f"{output}: {size} bytes"}
    return report | ({"notes": notes} if notes else {})
