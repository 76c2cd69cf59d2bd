"""Sounds in all formats of libsndfile are detected from their content, and refused by name where they are damaged."""

import numpy as np
import pytest
import soundfile

import coinr
from coinr.errors import DependencyError, InputError
from coinr.signals.audio.files import read_audio, write_audio
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.open_signal import open_signal

RATE = 8000

#: Formats with an encoding each, what of a sample may be lost, and of how many samples the sound is filled up.
FORMATS = {
    "WAV": ("PCM_16", 1e-4),
    "WAVEX": ("PCM_24", 1e-6),
    "RF64": ("FLOAT", 0),
    "W64": ("PCM_24", 1e-6),
    "AIFF": ("PCM_16", 1e-4),
    "CAF": ("PCM_16", 1e-4),
    "AU": ("FLOAT", 0),
    "NIST": ("PCM_16", 1e-4),
    "FLAC": ("PCM_24", 1e-6),
    "OGG": ("VORBIS", 0.1),
    "MP3": ("MPEG_LAYER_III", 0.1),
    "SVX": ("PCM_16", 1e-4),
    "AVR": ("PCM_16", 1e-4),
    "HTK": ("PCM_16", 1e-4),
    "IRCAM": ("PCM_16", 1e-4),
    "MAT4": ("FLOAT", 0),
    "MAT5": ("FLOAT", 0),
    "PAF": ("PCM_16", 1e-4),
    "PVF": ("PCM_16", 1e-4),
    "SDS": ("PCM_16", 1e-4),
    "VOC": ("PCM_16", 1e-4),
}

#: Those whose header tells how long the sound is; of the others what is left of a file looks whole.
MEASURED = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "NIST", "FLAC", "OGG", "MP3", "SVX", "AVR", "MAT4"]


def tone(count=4000):
    return 0.5 * np.sin(np.arange(count) / 16)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """The bytes of one sound in every format."""
    path = tmp_path_factory.mktemp("sounds") / "a.bin"
    made = {}
    for kind, (encoding, _) in FORMATS.items():
        soundfile.write(path, tone(), RATE, format=kind, subtype=encoding)
        made[kind] = path.read_bytes()
    return made


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["sound", "sound.png", "sound.npy"])
def test_a_sound_is_recognized_by_its_content(tmp_path, sounds, kind, name):
    path = tmp_path / name
    path.write_bytes(sounds[kind])
    signal = open_signal(path)
    assert isinstance(signal, AudioSignal)
    assert signal.rate == RATE
    lost = FORMATS[kind][1]
    assert np.abs(signal.samples[:4000] - tone()).max() <= lost + 1e-7


@pytest.mark.parametrize("size", [10, 1000, 200_000])
def test_mp3_and_flac_with_a_tag_in_front(tmp_path, sounds, size):
    digits = bytes((size >> shift) & 127 for shift in (21, 14, 7, 0))
    for kind in ("MP3", "FLAC"):
        (tmp_path / "a").write_bytes(b"ID3\x04\x00\x00" + digits + bytes(size) + sounds[kind])
        assert open_signal(tmp_path / "a").count == 4000


def test_of_several_streams_the_first_is_read_with_a_note(tmp_path, sounds):
    (tmp_path / "a").write_bytes(sounds["OGG"] * 2)
    signal = open_signal(tmp_path / "a")
    assert signal.count == 4000
    assert signal.notes == ("the first of 2 streams is taken",)
    (tmp_path / "a").write_bytes(sounds["OGG"])
    assert open_signal(tmp_path / "a").notes == ()


ID3 = b"ID3\x04\x00\x00\x00\x00\x01\x02" + bytes(130)


@pytest.mark.parametrize(
    ("before", "between", "after"),
    [(b"", b"", b""), (ID3, b"", b""), (b"", ID3, b""), (ID3, ID3, b"TAG".ljust(128, b"\0"))],
)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [RATE, 44100])
def test_of_joined_mp3_the_first_is_read_with_a_note(tmp_path, before, between, after, channels, rate):
    sound = np.stack([tone()] * channels, 1)
    soundfile.write(tmp_path / "one.mp3", sound, rate, format="MP3")
    one = (tmp_path / "one.mp3").read_bytes()
    (tmp_path / "a").write_bytes(before + one + between + one + after)
    signal = open_signal(tmp_path / "a")
    assert signal.count == len(sound)
    rest = len(between) + len(one) + len(after)
    assert signal.notes == (f"{rest} bytes of MP3 behind the first sound are not used",)
    for tail in (b"", b"TAG".ljust(128, b"\0"), bytes(5000), b"\xff\xfb" + bytes(1000)):
        (tmp_path / "a").write_bytes(before + one + tail)
        assert open_signal(tmp_path / "a").notes == ()


def test_opus(tmp_path):
    soundfile.write(tmp_path / "a", tone(), RATE, format="OGG", subtype="OPUS")
    assert open_signal(tmp_path / "a").kind == "audio"


@pytest.mark.parametrize("kind", MEASURED)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_sounds_are_called_so(tmp_path, sounds, kind, share):
    path = tmp_path / "cut.wav"
    path.write_bytes(sounds[kind][: int(share * len(sounds[kind]))])
    for read in (read_audio, open_signal):
        if (kind, share) == ("MP3", 0.5):
            continue  # libsndfile does not take it for MP3 any more
        with pytest.raises(InputError, match=r"cut\.wav: .*truncated") as caught:
            read(path)
        assert "image" not in str(caught.value)
        assert "object at" not in str(caught.value)


def test_lengths_that_were_not_known_when_they_were_written_are_no_fault(tmp_path, sounds):
    data = bytearray(sounds["WAV"])
    at = data.index(b"data") + 4
    for length in (0xFFFFFFFF, 0x7FFFF000, 0x80000000):
        data[4:8] = data[at : at + 4] = length.to_bytes(4, "little")
        (tmp_path / "a.wav").write_bytes(data)
        assert len(read_audio(tmp_path / "a.wav")[0]) == 4000


def test_what_comes_behind_the_samples_may_be_cut(tmp_path, sounds):
    (tmp_path / "a.wav").write_bytes(sounds["WAV"] + b"LIST\x10\0\0\0ab")
    assert len(read_audio(tmp_path / "a.wav")[0]) == 4000


@pytest.mark.parametrize("suffix", [".raw", ".pcm", ".wav", ".mp3", ".m4a"])
def test_raw_samples_are_refused_as_a_sound(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes((tone() * 32767).astype("<i2").tobytes())
    for read in (read_audio, open_signal):
        with pytest.raises(InputError, match=rf"a\{suffix}: damaged or unsupported sound, .*raw samples") as caught:
            read(path)
        assert "image" not in str(caught.value)


def test_what_is_nothing_known_is_called_so(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"hello, this is text\n" * 10)
    with pytest.raises(InputError, match=r"a\.xyz: its content is of no kind that can be read"):
        open_signal(tmp_path / "a.xyz")
    # the first bytes of MP3 are those of text in UTF-16
    (tmp_path / "b.xyz").write_bytes("hello, this is text\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"b\.xyz: its content is of no kind"):
        open_signal(tmp_path / "b.xyz")


def test_pictures_stay_pictures(tmp_path):
    image = (np.indices((8, 9)).sum(0) * 15).astype(np.uint8)
    for suffix in (".png", ".tif", ".bmp", ".pgm", ".webp", ".jpg"):
        coinr.write_image(tmp_path / f"a{suffix}", image)
        for name in ("b", "b.wav", "b.mp3"):
            (tmp_path / name).write_bytes((tmp_path / f"a{suffix}").read_bytes())
            assert open_signal(tmp_path / name).kind == "image", (suffix, name)


@pytest.mark.parametrize("kind", ["WAV", "MP3", "NIST"])
def test_a_sound_without_the_library_for_it(tmp_path, sounds, kind, monkeypatch):
    def missing(module):
        raise DependencyError(f"this needs {module}")

    monkeypatch.setattr("coinr.signals.audio.files.import_optional", missing)
    (tmp_path / "a").write_bytes(sounds[kind])
    with pytest.raises(DependencyError, match="a: this needs soundfile"):
        open_signal(tmp_path / "a")


def test_sounds_of_no_and_of_one_sample(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0), RATE)
    with pytest.raises(InputError, match=r"a\.wav: the sound is empty"):
        open_signal(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.wav", np.array([0.25]), RATE)
    signal = open_signal(tmp_path / "a.wav")
    fitted = coinr.fit(signal, width=4, hidden_layers=1, steps=2, progress=False)
    sound = coinr.open_file(coinr.pack_signal(fitted.network, signal, profile="uniform")).render()
    assert sound.shape == (1,)


def test_sounds_of_many_channels(tmp_path):
    for channels, allowed in ((8, True), (9, False), (24, False)):
        soundfile.write(tmp_path / "a.wav", np.stack([tone(50)] * channels, 1), RATE)
        if allowed:
            assert open_signal(tmp_path / "a.wav").out_features == channels
            continue
        with pytest.raises(InputError, match=rf"a\.wav: .*at most 8, got \[50, {channels}\]"):
            open_signal(tmp_path / "a.wav")


def test_24_bits_and_floats_beyond_full_scale_are_kept(tmp_path):
    levels = np.array([1, -1, 2**23 - 1, -(2**23), 12345], np.int32) << 8
    soundfile.write(tmp_path / "a.wav", levels, RATE, subtype="PCM_24")
    assert np.array_equal(open_signal(tmp_path / "a.wav").samples, levels / 2**31)
    loud = np.array([0.5, 3.75, -1000.0], np.float32)
    soundfile.write(tmp_path / "a.wav", loud, RATE, subtype="FLOAT")
    assert np.array_equal(open_signal(tmp_path / "a.wav").samples, loud)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_samples_that_are_not_finite_are_refused(tmp_path, value):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, value]), RATE, subtype="DOUBLE")
    with pytest.raises(InputError, match=r"a\.wav: the sound holds NaN, infinite samples"):
        open_signal(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "samples", [np.array([1e300]), np.array([0x7F800001], np.uint32).view(np.float32)], ids=["large", "signalling"]
)
def test_values_that_are_no_float32_are_refused_without_a_warning(samples):
    with pytest.raises(InputError, match="NaN, infinite"):
        AudioSignal(samples, RATE)


def test_a_sound_longer_than_can_be_rendered_is_refused_before_it_is_read(tmp_path, monkeypatch):
    write_audio(tmp_path / "a.wav", tone().astype(np.float32), RATE)
    monkeypatch.setattr("coinr.signals.audio.files.MAX_SAMPLES", 3999)
    with pytest.raises(InputError, match=r"a\.wav: a sound has up to 3999 samples, this one has 4000"):
        read_audio(tmp_path / "a.wav")
