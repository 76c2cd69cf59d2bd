import numpy as np
import pytest
import soundfile
import torch

from coinr.errors import InputError
from coinr.signals.audio.files import read_audio, write_audio
from coinr.signals.audio.rendering import render_audio
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.metrics import snr
from coinr.signals.sampling import score_of
from tests.small_signals import RATE, siren, tones

STEREO = np.stack((tones(), -0.5 * tones()), axis=1)


@pytest.mark.parametrize("suffix", [".wav", ".WAV", ".flac"])
@pytest.mark.parametrize("sound", [tones(), STEREO], ids=["mono", "stereo"])
def test_files_hold_sixteen_bits(tmp_path, suffix, sound):
    write_audio(tmp_path / f"a{suffix}", sound, RATE)
    back, rate = read_audio(tmp_path / f"a{suffix}")
    assert (rate, back.dtype, back.shape) == (RATE, np.float32, sound.shape)
    assert np.abs(back - sound).max() <= 0.5 / 32768 + 1e-7
    assert soundfile.info(tmp_path / f"a{suffix}").subtype == "PCM_16"


def test_full_scale_clips(tmp_path):
    write_audio(tmp_path / "a.wav", np.array([0.5, 1.0, 3.0, -3.0], np.float32), RATE)
    assert read_audio(tmp_path / "a.wav")[0].tolist() == [0.5, 32767 / 32768, 32767 / 32768, -1.0]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE"])
def test_other_widths_are_read(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", tones(), RATE, subtype=subtype)
    back, _ = read_audio(tmp_path / "a.wav")
    assert np.abs(back - tones()).max() < (0.01 if subtype == "PCM_U8" else 1e-6)


def _file(path, data):
    path.write_bytes(data)
    return path


def test_bad_files_are_refused(tmp_path):
    soundfile.write(tmp_path / "good.wav", tones(), RATE)
    good = (tmp_path / "good.wav").read_bytes()
    soundfile.write(tmp_path / "empty.wav", tones()[:0], RATE)
    soundfile.write(tmp_path / "silent.wav", 0 * tones(), RATE)
    soundfile.write(tmp_path / "nan.wav", tones() * np.nan, RATE, subtype="FLOAT")
    for name, message in (("empty", "empty"), ("silent", "silent"), ("nan", "NaN")):
        with pytest.raises(InputError, match=rf"{name}\.wav: .*{message}"):
            read_audio(tmp_path / f"{name}.wav")
    for data in (b"", b"RIFF", b"no sound", good[:20]):
        with pytest.raises(InputError, match=r"bad\.wav: (damaged|the file is empty)"):
            read_audio(_file(tmp_path / "bad.wav", data))
    with pytest.raises(OSError, match="No such file"):
        read_audio(tmp_path / "none.wav")


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"\.wav \.flac"):
        write_audio(tmp_path / "a.mp3", tones(), RATE)
    with pytest.raises(InputError, match="cannot hold"):
        write_audio(tmp_path / "a.flac", tones(), 10**8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros((3, 3, 3)), RATE, "shape"),
        (np.zeros((3, 9)), RATE, "at most 8"),
        (np.zeros(0), RATE, "empty"),
        (np.zeros(4), RATE, "silent"),
        (np.full(4, np.inf), RATE, "infinite"),
        (np.ones(4, np.int32), RATE, "int32"),
        (np.ones(4), 0, "rate"),
        (np.ones(4), 44100.0, "rate"),
    ],
)
def test_arrays_that_are_no_sound_are_refused(samples, rate, message):
    with pytest.raises(InputError, match=message):
        AudioSignal(samples, rate)


def test_int16_is_full_scale_at_32768():
    assert AudioSignal(np.array([-32768, 16384], np.int16), RATE).samples.tolist() == [-1.0, 0.5]


@pytest.mark.parametrize(("peak", "exponent"), [(1.0, 0), (0.51, 0), (0.5, 1), (0.01, 6), (1.5, -1)])
def test_values_are_brought_near_full_scale_by_a_power_of_two(peak, exponent):
    signal = AudioSignal(np.array([0.0, -peak, peak / 2]), RATE)
    assert signal.exponent == exponent
    _, targets = signal.batch(torch.arange(3))
    assert targets[:, 0].tolist() == pytest.approx([0, -peak * 2**exponent, peak * 2**exponent / 2])
    assert 0.5 < targets.abs().max() <= 1
    numbers = [3, RATE] + ([exponent] if exponent else [])
    assert signal.meta() == {"audio": numbers}


def test_the_score_is_the_snr_of_the_sound_rendered_back():
    signal = AudioSignal(STEREO, RATE)
    network = siren(1, 2)
    shown = render_audio(network, signal.count, signal.exponent)
    assert shown.shape == STEREO.shape
    assert score_of(network, signal) == pytest.approx(snr(STEREO, shown), abs=1e-4)
    _, targets = signal.batch(torch.arange(signal.count))
    assert signal.score(signal.partial_score(targets, targets)) == np.inf
    assert signal.score(signal.partial_score(0 * targets, targets)) == pytest.approx(0)
    assert signal.score(signal.partial_score(targets * torch.nan, targets)) == -np.inf


def test_a_sound_at_twice_the_rate_is_not_shifted():
    class Ramp(torch.nn.Module):
        def forward(self, t):
            return t

    low, high = render_audio(Ramp(), 50), render_audio(Ramp(), 100)
    np.testing.assert_allclose(high.reshape(50, 2).mean(axis=1), low, atol=1e-6)
    assert low[0] == pytest.approx(-0.98)


def test_one_sample():
    signal = AudioSignal(np.array([0.25]), RATE)
    places, targets = signal.batch(torch.tensor([0]))
    assert (places.tolist(), targets.tolist()) == ([[0.0]], [[1.0]])


def test_the_first_frequencies_follow_the_length():
    sounds = ((1, 8000), (400, 8000), (56_000, 8000), (448_000, 8000))
    omegas = [AudioSignal(np.ones(n), rate).recipe.options["siren"]["first_omega"] for n, rate in sounds]
    assert omegas == [30.0, 200.0, 3000.0, 6000.0]


def test_sizes_out_of_range_are_refused():
    for count in (0, 2**28 + 1):
        with pytest.raises(InputError, match="samples"):
            render_audio(siren(1, 1), count)
    with pytest.raises(InputError, match=r"\[N, 1 .. 8\]"):
        render_audio(siren(1, 9), 4)


def test_snr():
    assert snr(np.array([1.0, -1.0]), np.array([1.1, -1.1])) == pytest.approx(20)
    assert snr(tones(), tones()) == np.inf
    with pytest.raises(InputError, match="one shape"):
        snr(tones(), tones()[:-1])
    with pytest.raises(InputError, match="silence"):
        snr(np.zeros(3), np.ones(3))
