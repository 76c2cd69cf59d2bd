"""Sounds in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.networks.description import ArrayNetwork
from coinr.signal_files.signal_file import ShownBy, SignalFile, check_mlp, check_restored, numbers, whole
from coinr.signals.audio.rendering import describe_sound, render_audio
from coinr.signals.image.picture import Panels
from coinr.signals.signal import Signal

if TYPE_CHECKING:
    from coinr.networks import Mlp
    from coinr.signals.audio.signal import AudioSignal


@dataclass(frozen=True, repr=False)
class AudioFile(SignalFile):
    """A sound that can be rendered at any rate.

    Attributes
    ----------
    network : Mlp or ArrayNetwork
        Maps time in [-1, 1] to a value for each channel.
    count, rate : int
        Samples of the sound that was fitted, and samples a second.
    exponent : int
        The network's values are the sound times 2^exponent.
    """

    kind: ClassVar[str] = "audio"
    network: Mlp | ArrayNetwork
    count: int
    rate: int
    exponent: int = 0

    @classmethod
    @checked
    def from_meta(cls, network: ShownBy, meta: Mapping[str, Any]) -> Self:
        """Implement :meth:`SignalFile.from_meta` for ``{"audio": [N, rate]}`` or ``[N, rate, exponent]``."""
        shown = check_mlp(network, cls.kind, 1, range(1, 9))
        values = numbers(meta, "audio", (2, 3))
        return cls(shown, *whole("audio", values[:2]), *whole("audio", values[2:], -128, 128))

    def describe(self) -> str:
        """Return length, rate and channels."""
        return describe_sound(self.count, self.rate, self.network.out_features)

    def rates(self, size: int) -> dict[str, float]:
        """Return the rate in kilobits per second."""
        return {"kbit_per_second": 8 * size * self.rate / self.count / 1000}

    @checked
    def render(self, rate: int | None = None) -> NDArray[np.float32]:
        """Return the sound at ``rate`` Hz, its own by default: float32 [N] or [N, C].

        Raises
        ------
        InputError
            If the rate is below 1, or would give more samples than can be rendered.
        """
        rate = self.rate if rate is None else rate
        if rate < 1:
            raise InputError(f"rate must be at least 1 Hz, got {rate}")
        return render_audio(self.network, max(1, round(self.count * rate / self.rate)), self.exponent)

    def _original(self, signal: Signal) -> AudioSignal:
        """Return a signal of this kind; raise InputError for another."""
        self.check_kind(signal)
        return cast("AudioSignal", signal)

    @checked
    def restore(self, signal: Signal | None = None) -> NDArray[np.float32]:
        """Return the sound at its own rate."""
        if signal is not None:
            original = self._original(signal)
            size = "{} samples at {} Hz in {} channels".format
            self.check_size(
                size(self.count, self.rate, self.network.out_features),
                size(original.count, original.rate, original.out_features),
            )
        return self.render()

    @property
    def _shape(self) -> tuple[int, ...]:
        channels = self.network.out_features
        return (self.count,) if channels == 1 else (self.count, channels)

    @checked
    def metrics(self, signal: Signal, restored: NDArray[np.float32]) -> dict[str, Any]:
        """Return the SNR in dB."""
        from coinr.signals.metrics import snr

        original = self._original(signal)
        check_restored(restored, self._shape)
        return {"snr": snr(original.samples, restored)}

    @checked
    def panels(self, restored: NDArray[np.float32], signal: Signal | None = None) -> tuple[Panels, int]:
        """Return waveforms and spectrograms of the mean of all channels."""
        from coinr.signals.plots import spectrogram, waveform

        check_restored(restored, self._shape)
        mine = _mono(restored)
        if signal is None:
            return [
                ("waveform", waveform([("coinr", mine)], self.rate)),
                ("spectrogram", spectrogram(mine, self.rate)),
            ], 1
        original = self._original(signal)
        other = _mono(original.samples)
        return [
            ("waveform", waveform([("original", other), ("coinr", mine), ("error", other - mine)], self.rate)),
            ("spectrogram of the original", spectrogram(other, self.rate)),
            ("spectrogram of coinr", spectrogram(mine, self.rate)),
            ("spectrogram of the error", spectrogram(other - mine, self.rate)),
        ], 1


def _mono(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    return sound if sound.ndim == 1 else sound.mean(axis=1)
