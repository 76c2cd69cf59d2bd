"""The command that fits a network to a signal and stores it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coinr.cli.fit_options import budget_arguments, budget_options, fit_arguments, fit_options
from coinr.cli.many_run import is_many, many_options, pop_many, run_into, run_on_ray, run_options
from coinr.cli.messages import profile_keys
from coinr.cli.options import (
    COINR_FILE,
    check_codec,
    codec_arguments,
    codec_options,
    echo_json,
    echo_notes,
    examples,
    json_option,
    quiet,
    quiet_option,
    show_command_progress,
)
from coinr.cli.outputs import check_distinct, check_output, check_place, output_beside, output_option
from coinr.cli.signal_options import read_signal, reading_arguments, signal_options
from coinr.cli.start_options import read_start
from coinr.progress import finish

if TYPE_CHECKING:
    from coinr.starts.start import Start


@click.command(
    no_args_is_help=True,
    epilog=profile_keys()
    + examples(
        "coinr encode photo.png                               writes photo.coinr, unless there is one",
        "coinr encode photo.png -o photo.coinr",
        "coinr encode photo.png -o photo.coinr --target-bytes 20000",
        "coinr encode photo.png -o photo.coinr --min-psnr 30",
        "coinr encode photo.jpg -o photo.coinr --width 128 --steps 20000",
        "coinr encode photo.png -o photo.coinr --profile uniform -O bits=10 --json",
        "coinr encode song.wav -o song.coinr --checkpoint song.checkpoint",
        "coinr encode statue.ply -o statue.coinr --grid 256",
        "coinr encode volume.npz -o volume.coinr --network gauss --target 0.99",
        "coinr encode photo.png -o photo.coinr --start photos.start.coinr --steps 300",
        "coinr encode lego/ -o lego.coinr --width 256 --hidden-layers 8 --samples 64,128",
        "coinr encode a.png b.png song.wav -o out            several, into a folder; the same command goes on",
        "coinr encode a.png b.png -o out --shard 1/2 --time-limit 600 --retries 1",
    ),
)
@click.argument("signals", metavar="SIGNAL...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@output_option("The .coinr file", "SIGNAL with .coinr", folder=True)
@signal_options
@click.option(
    "--start",
    "start_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Begin the fit at this start of learn-start, and store differences to it.  [default: a new network]",
)
@budget_options
@fit_options
@codec_options
@many_options
@click.option(
    "--ray",
    "ray_address",
    metavar="ADDRESS",
    help="Into a folder: encode on this Ray cluster; local is one on this machine.  [default: none]",
)
@json_option
@quiet_option
def encode(
    signals: tuple[Path, ...],
    output: Path | None,
    start_file: Path | None,
    network: str | None,
    ray_address: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit a network to SIGNAL and store it as a coinr file.

    The kind of SIGNAL is detected from its content: a picture (.png .jpg .webp .tif ...), a sound (.wav .flac .mp3), a
    volume or a scene of arrays (.npy .npz), a closed mesh (.ply .obj .stl .off .glb), or a folder of posed pictures
    with transforms.json.
    Network and training that are not chosen are those that suit the kind of signal; the network of a small signal is
    narrower, so that its file stays below about a quarter of the samples (an eighth for voxels). A note on stderr says
    when common formats are smaller, without loss or at the same quality. More width, layers and steps give
    a better copy; width and layers also a larger file.

    Hidden neurons are stored in canonical order, which takes fewer bytes for the same function. --lossless and profiles
    that keep tensors as they are keep their order, too.

    Several SIGNALs are encoded into a folder given with -o, in a process a core. One that fails does not stop the
    others. In the folder, manifest.jsonl and failures.jsonl say what was made and what failed, and the same command
    goes on where it was ended.

    With --target-bytes, --target-bpp, --min-psnr or --min-score, the network and its bits are chosen so that the file
    is the best of that size, or the smallest of that quality; what was done is printed. With --start, only bits are.

    \b
    defaults   network  width  hidden layers  steps  batch  learning rate
    image      siren    56     5              3000   4096   0.001
    audio      siren    128    3              8000   4096   0.001
    shape      siren    64     3              3000   4096   0.001
    scene      nerf     64     4              6000   320    0.002
    """  # noqa: D301 - \b tells click to keep the lines
    many = pop_many(options)
    if output is not None and (ray_address is not None or is_many(signals, output, many)):
        _encode_into(signals, output, start_file, network, ray_address, as_json, options, many)
        return
    if ray_address is not None:
        raise click.UsageError("--ray needs a folder to write into: -o FOLDER")
    if len(signals) > 1:
        raise click.UsageError("several signals need a folder to write into: -o FOLDER")
    [signal] = signals
    output = output or output_beside(signal, COINR_FILE)
    check_output(output, (COINR_FILE,), signal, start_file)
    if options["checkpoint"] is not None:
        check_distinct(options["checkpoint"], signal, output)
        check_place(options["checkpoint"])
    arguments = codec_arguments(options)
    budget = budget_arguments(options)
    _check_start(start_file, network, options)
    from coinr.files.writing import write_atomic
    from coinr.signal_files.api import open_file
    from coinr.signals.common_formats import common_formats, smaller_formats

    show_command_progress()
    check_codec(arguments)
    start = read_start(start_file)
    opened = read_signal(signal, options)
    echo_notes(signal, opened.notes)
    if options["min_psnr"] is not None and opened.metric != "PSNR":
        raise click.UsageError(
            f"--min-psnr is for pictures and scenes; this is measured by its {opened.metric}: --min-score"
        )
    if budget is not None:
        blob, score, before, numbers, words = _within(opened, network, start, budget, arguments)
    elif start is not None:
        blob, score, before, numbers, words = _from_start(opened, start, options, arguments)
    else:
        blob, score, before, numbers, words = _plain(opened, network, options, arguments)
    write_atomic(output, blob)
    file = open_file(blob, start=start)
    formats = [] if quiet() and not as_json else common_formats(opened, score)
    finish()
    if (note := smaller_formats(len(blob), formats)) is not None:
        echo_notes(output, [note])
    rates, metric = file.rates(len(blob)), opened.metric.lower()
    if as_json:
        described = {"file": str(output), "signal": file.describe(), "kind": file.kind, "bytes": len(blob)}
        described["notes"] = list(opened.notes)
        described["common_formats"] = [{"name": f.name, "bytes": f.bytes, metric: f.score} for f in formats]
        echo_json({**described, **rates, metric: score, f"{metric}_before_coding": before, **numbers})
        return
    for line in words:
        click.echo(line)
    rate = "".join(f"{value:.3f} {name.replace('_', ' ')}, " for name, value in rates.items())
    after, before_coding = (f"{value:.{2 if opened.unit else 4}f} {opened.unit}".strip() for value in (score, before))
    click.echo(f"{output}: {len(blob)} bytes, {rate}{opened.metric} {after} ({before_coding} before coding)")


def _check_start(start_file: Path | None, network: str | None, options: dict[str, Any]) -> None:
    """Refuse what decides the network beside a start, which does."""
    if start_file is not None and {network, options["width"], options["hidden_layers"]} != {None}:
        raise click.UsageError("--start decides the network: it goes without --network, --width, --hidden-layers")


def _encode_into(
    signals: tuple[Path, ...],
    output: Path,
    start_file: Path | None,
    network: str | None,
    ray_address: str | None,
    as_json: bool,
    options: dict[str, Any],
    many: dict[str, Any],
) -> None:
    """Encode signals into a folder."""
    if options["checkpoint"] is not None:
        raise click.UsageError("--checkpoint is of one fit; into a folder, finished files are kept")
    from coinr.many.signals import EncodeSignal

    arguments, budget = codec_arguments(options), budget_arguments(options)
    _check_start(start_file, network, options)
    check_codec(arguments)
    read_start(start_file)
    show_command_progress()
    task = EncodeSignal(
        reading=reading_arguments(options),
        network={"kind": network} | {name: options[name] for name in ("width", "hidden_layers")},
        fitting=fit_arguments(options),
        budget=budget,
        start=None if start_file is None else start_file.resolve(),
        codec=arguments,
    )
    if ray_address is not None:
        run_on_ray(task, signals, output, many, ray_address, as_json)
        return
    run_into(task, signals, output, run_options(many, (), options["threads"]), as_json)


#: A file, its score, the network's before coding, further values of the JSON, and lines of text.
_Made = tuple[bytes, float, float, dict[str, Any], list[str]]


def _plain(opened: Any, network: str | None, options: dict[str, Any], codec: dict[str, Any]) -> _Made:
    """Fit a network as the options say, and code it as they say."""
    from coinr.fitting import fit, new_network
    from coinr.inputs.naming import check_patterns
    from coinr.signal_files.api import load_network, pack_signal, signal_meta
    from coinr.signals.sampling import score_of

    sizes = {name: options[name] for name in ("width", "hidden_layers", "seed")}
    start = new_network(opened, network, **sizes)
    signal_meta(start, opened)
    check_patterns(codec["lossless"], start.state_dict())
    fitted = fit(opened, start, **fit_arguments(options))
    begin = time.perf_counter()
    blob = pack_signal(fitted.network, opened, **codec)
    seconds = time.perf_counter() - begin
    numbers = {"steps": fitted.steps, "fit_seconds": fitted.seconds, "encode_seconds": seconds}
    return blob, score_of(load_network(blob), opened), fitted.score, numbers, []


def _from_start(opened: Any, start: Start, options: dict[str, Any], codec: dict[str, Any]) -> _Made:
    """Fit the network of a start as the options say, and code it relative to the start."""
    from coinr.fitting import fit
    from coinr.fitting.first_steps import network_at
    from coinr.inputs.naming import check_patterns
    from coinr.signal_files.api import load_network, pack_signal
    from coinr.signals.sampling import score_of

    network_at(start, opened)
    check_patterns(codec["lossless"], start.arrays)
    fitted = fit(opened, start=start, **fit_arguments(options))
    begin = time.perf_counter()
    blob = pack_signal(fitted.network, opened, start=start, **codec)
    seconds = time.perf_counter() - begin
    more, line = _say_start(start, blob)
    numbers = {"steps": fitted.steps, "fit_seconds": fitted.seconds, "encode_seconds": seconds} | more
    return blob, score_of(load_network(blob, start=start), opened), fitted.score, numbers, [line]


def _within(
    opened: Any, network: str | None, start: Start | None, budget: dict[str, Any], codec: dict[str, Any]
) -> _Made:
    """Choose network (unless a start decides it), training and coding for a budget."""
    from coinr.optimize.compress import compress
    from coinr.signals.sampling import score_of

    codec = {name: value for name, value in codec.items() if name != "seed"}
    made = compress(opened, network, start=start, **budget, **codec)
    numbers: dict[str, Any] = {"report": [{"step": step.name, **step.numbers} for step in made.report]}
    words = [str(step) for step in made.report]
    if start is not None:
        more, line = _say_start(start, made.blob)
        numbers, words = numbers | more, [*words, line]
    return made.blob, made.score, score_of(made.network, opened), numbers, words


def _say_start(start: Start, blob: bytes) -> tuple[dict[str, Any], str]:
    """Return what is said of a start and a file that was made with it, as JSON values and as a line."""
    from coinr.codec.reading import inspect

    needed = inspect(blob).base is not None
    numbers = {"start": {"name": start.name, "hash": start.hash}, "needs_start": needed}
    return numbers, f"start: {start.name!r} ({start.short_hash}), {'' if needed else 'not '}needed to decode"
