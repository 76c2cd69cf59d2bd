"""Sound files in and out."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.files.reading import TRUNCATED, name_in_errors, read_bytes
from coinr.files.writing import write_atomic
from coinr.inputs.arguments import checked, describe_value
from coinr.inputs.arrays import to_array
from coinr.runtime.ambient import independent
from coinr.runtime.optional import import_optional

#: Longest sound that is rendered, in samples.
MAX_SAMPLES = 2**28

#: Suffixes that :func:`write_audio` knows; 16 bits a sample.
AUDIO_SUFFIXES = (".wav", ".flac")

#: Codes of libsndfile for a format that it does not know, and for what begins like MP3 and is not.
_UNKNOWN = (1, 7)

#: Lines of libsndfile's log on bytes of samples that the header declares and the file does not have, and on samples.
_BYTES = re.compile(r"^ *(?:data|SSND|BODY|riff|Data Size|Data length) *:? *(\d+) \(?should be (\d+)", re.MULTILINE)
_FRAMES = re.compile(r"(?:^ *Frames *: |from 'ds64' chunk of )(\d+)", re.MULTILINE)

#: Lengths from here on stand for one that was not known when the header was written, to a pipe.
_ENDLESS = 0x7FFF0000

#: The head of the page that begins a stream of an Ogg file.
_FIRST_PAGE = re.compile(rb"OggS\0[\2\6]")

#: The head of a frame of MP3; of a first one that has the length of the sound, flags and numbers; a tag's length.
_MP3_SYNC = re.compile(rb"\xff[\xe2-\xff]")
_MP3_INFO = re.compile(rb"\xff[\xe2-\xff].{2}.{9,34}?(?:Xing|Info)...(?P<flags>.)(?P<numbers>.{8})", re.DOTALL)
_ID3 = re.compile(rb"ID3...(.{4})", re.DOTALL)

#: No frame of MP3 is longer, in bytes.
_MP3_FRAME = 2881

#: The most that FLAC holds.
MOST_CHANNELS = 8

_SILENCE = 2.0**-100  # no file of up to 32 bits an integer sample holds less but zero


def check_audio(samples: Any, rate: int) -> NDArray[np.float32]:
    """Return a sound as float32, or say what is wrong with it.

    Raises
    ------
    InputError
        If it is not [N] or [N, C] with at least one sample and at most 8 channels, or is neither int16 nor floating.
        If it holds NaN, Inf or only zeros, or ``rate`` is no whole number of Hz.
    """
    array = to_array(samples, "the sound")
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= MOST_CHANNELS):
        raise InputError(f"a sound has shape [N] or [N, C], C at most {MOST_CHANNELS}, got {list(array.shape)}")
    if array.size == 0:
        raise InputError("the sound is empty")
    if array.dtype != np.int16 and not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"a sound is int16 or floating, got {array.dtype}")
    if isinstance(rate, bool) or not isinstance(rate, int) or not 0 < rate < 2**31:
        raise InputError(f"a sampling rate is a whole number of Hz in 1 .. 2^31 - 1, got {rate!r}")
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
        sound = array.astype(np.float32) / (32768 if array.dtype == np.int16 else 1)
    if not np.isfinite(sound).all():
        raise InputError("the sound holds NaN, infinite samples or samples beyond what float32 holds")
    if np.abs(sound).max() < _SILENCE:
        raise InputError("the sound is silent throughout")
    return np.ascontiguousarray(sound[:, 0] if sound.ndim == 2 and sound.shape[1] == 1 else sound)


class _Bytes(io.BytesIO):
    """Bytes of which libsndfile may ask for those before the first, as damaged headers make it; it gets the first."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, not before the first byte."""
        return super().seek(max(offset, 0) if whence == 0 else offset, whence)


def is_sound(data: bytes) -> bool:
    """Return whether libsndfile knows the format of these bytes, damaged or not.

    Raises
    ------
    DependencyError
        If soundfile is not installed.
    """
    soundfile = import_optional("soundfile")
    try:
        soundfile.info(_Bytes(data))
    except soundfile.LibsndfileError as error:
        return error.code not in _UNKNOWN
    return True


def left_of_sound(data: bytes) -> tuple[str, ...]:
    """Return a note on what of a sound file libsndfile does not read: what comes behind the first of joined sounds.

    Those are streams of an Ogg file, and frames of an MP3 file behind the bytes that its first frame declares.
    """
    streams = len(_FIRST_PAGE.findall(data)) if data.startswith(b"OggS") else 1
    if streams > 1:
        return (f"the first of {streams} streams is taken",)
    rest = _behind_mp3(data)
    return (f"{rest} bytes of MP3 behind the first sound are not used",) if rest else ()


def _behind_mp3(data: bytes) -> int:
    """Count the bytes of frames behind those that the first frame of an MP3 file declares; 0 if it declares none."""
    info = _MP3_INFO.match(data, _behind_tag(data, 0))
    if not info or not info["flags"][0] & 2:
        return 0
    length = int.from_bytes(info["numbers"][4:8] if info["flags"][0] & 1 else info["numbers"][:4], "big")
    end = info.start() + length
    start = _behind_tag(data, end)
    # writers differ in whether they count the first frame
    joined = start > end or bool(_MP3_INFO.match(data, start)) or len(data) - end > _MP3_FRAME
    return len(data) - end if joined and _MP3_SYNC.match(data, start) else 0


def _behind_tag(data: bytes, at: int) -> int:
    """Return where an ID3v2 tag ends, or where it would begin if there is none."""
    tag = _ID3.match(data, at)
    return at if tag is None else tag.end() + sum(byte << 7 * (3 - k) for k, byte in enumerate(tag[1]))


@independent
@checked
def read_audio(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """Return the sound in a file, float32 [N] or [N, C], and its rate in Hz.

    The file is one that libsndfile reads: WAV, FLAC, MP3, Ogg (Vorbis and Opus), AIFF, CAF, W64, RF64, AU, NIST and
    rarer ones. The format is detected from the content. Raw samples without a header are not read.

    Raises
    ------
    InputError
        If the file is truncated, damaged or no sound, or the sound is empty, silent or not finite.
    DependencyError
        If soundfile is not installed.
    OSError
        If the file cannot be opened.
    """
    with name_in_errors(path):
        return _decode(read_bytes(path))


def _decode(data: bytes) -> tuple[NDArray[np.float32], int]:
    """Return the sound in the bytes of a file, and its rate; errors of :func:`read_audio` without the file's name."""
    soundfile = import_optional("soundfile")
    try:
        with soundfile.SoundFile(_Bytes(data)) as file:
            if file.frames > MAX_SAMPLES:
                raise InputError(f"a sound has up to {MAX_SAMPLES} samples, this one has {file.frames}")
            samples, rate = file.read(file.frames, dtype="float32", always_2d=True), file.samplerate
            cut_off = _is_cut_off(file, data, len(samples))
    except soundfile.LibsndfileError as error:
        if error.code in _UNKNOWN:
            what = "damaged or unsupported sound, not of a format that libsndfile reads (raw samples are not)"
        else:
            what = "damaged, truncated or unsupported sound"
        raise InputError(f"{what}: {error.error_string}") from error
    if cut_off:
        raise InputError(f"{TRUNCATED} after {len(samples)} samples")
    return check_audio(samples, rate), rate


def _is_cut_off(file: Any, data: bytes, count: int) -> bool:
    """Return whether a file declares more than the ``count`` samples that were read.

    libsndfile reads what a truncated file still has. Most of what a header declares stands in its log alone.
    """
    log: str = file.extra_info
    # SDS counts whole packets, whatever the last one holds
    declared = [] if file.format == "SDS" else [int(match[1]) for match in _FRAMES.finditer(log)]
    if file.format == "MP3":
        declared.append(file.frames)
    if data.startswith(b"NIST_1A") and (found := re.search(rb"sample_count -i (\d+)", data[:1024])):
        declared.append(int(found[1]))
    if file.format == "OGG" and _ends_within_page(data):
        return True
    missing = any(int(match[2]) < int(match[1]) < _ENDLESS for match in _BYTES.finditer(log))
    return missing or "seems to be truncated" in log or max(declared, default=0) > count


def _ends_within_page(data: bytes) -> bool:
    """Return whether an Ogg file ends before its last page does: 27 bytes, the sizes of its segments, and these."""
    at = data.rfind(b"OggS")
    sizes = data[at + 27 : at + 27 + data[at + 26]] if at + 26 < len(data) else b""
    return at + 27 + len(sizes) + sum(sizes) > len(data)


@independent
@checked
def write_audio(path: str | os.PathLike[str], samples: NDArray[np.float32], rate: int) -> None:
    """Write a sound with 16 bits a sample, as WAV or FLAC by the suffix, all or nothing; full scale clips.

    Raises
    ------
    InputError
        If the suffix is another, or the format cannot hold such a rate.
    OSError
        If the file cannot be written.
    """
    soundfile = import_optional("soundfile")
    suffix = Path(path).suffix.lower()
    if suffix not in AUDIO_SUFFIXES:
        raise InputError(f"{path}: the suffix must be one of {' '.join(AUDIO_SUFFIXES)}")
    array = to_array(samples, "the sound")
    if array.ndim not in (1, 2) or array.size == 0 or array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise InputError(f"{path}: a sound is finite and has shape [N] or [N, C], got {describe_value(array)}")
    if not 0 < rate < 2**31:
        raise InputError(f"{path}: a sampling rate is a whole number of Hz in 1 .. 2^31 - 1, got {rate}")
    sound = np.clip(np.rint(array.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, sound, rate, format=suffix[1:].upper(), subtype="PCM_16")
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path}: {suffix} cannot hold this sound ({error})") from error
    write_atomic(path, buffer.getvalue())
