"""Activations of coordinate networks and their derivatives, in NumPy."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Activation(ABC):
    """A function of each element of an affine map z."""

    @abstractmethod
    def value(self, z: Array) -> Array:
        """Return y, of the shape of z."""

    @abstractmethod
    def slope(self, z: Array) -> Array:
        """Return dy/dz."""

    def pulled_back(self, z: Array, derivative: Array) -> Array:
        """Return the derivative of a number by z, given that by y; complex ones are d/dRe + i d/dIm."""
        out: Array = derivative * self.slope(z)
        return out


@dataclass(frozen=True)
class Sine(Activation):
    """sin(omega z)."""

    omega: float

    def __str__(self) -> str:
        return f"sine of omega {self.omega:g}"

    def value(self, z: Array) -> Array:
        """Return y."""
        return np.sin(self.omega * z)

    def slope(self, z: Array) -> Array:
        """Return dy/dz."""
        return self.omega * np.cos(self.omega * z)


@dataclass(frozen=True)
class FinerSine(Activation):
    """sin(omega (|z| + 1) z) of FINER."""

    omega: float

    def __str__(self) -> str:
        return f"FINER of omega {self.omega:g}"

    def value(self, z: Array) -> Array:
        """Return y."""
        return np.sin(self.omega * (np.abs(z) + 1) * z)

    def slope(self, z: Array) -> Array:
        """Return dy/dz."""
        return self.omega * (2 * np.abs(z) + 1) * np.cos(self.omega * (np.abs(z) + 1) * z)


@dataclass(frozen=True)
class Gaussian(Activation):
    """exp(−(scale z)²)."""

    scale: float

    def __str__(self) -> str:
        return f"Gaussian of scale {self.scale:g}"

    def value(self, z: Array) -> Array:
        """Return y."""
        return np.exp(-((self.scale * z) ** 2))

    def slope(self, z: Array) -> Array:
        """Return dy/dz."""
        return -2 * self.scale**2 * z * self.value(z)


@dataclass(frozen=True)
class Gabor(Activation):
    """exp(i omega z − |scale z|²) of WIRE, for complex z = u + iv."""

    omega: float
    scale: float

    def __str__(self) -> str:
        return f"Gabor wavelet of omega {self.omega:g} and scale {self.scale:g}"

    def value(self, z: Array) -> Array:
        """Return y."""
        y: Array = np.exp(1j * self.omega * z - self.scale**2 * np.abs(z) ** 2).astype(np.complex64)
        return y

    def slope(self, z: Array) -> Array:
        """Return dy/du."""
        slope: Array = self.value(z) * (1j * self.omega - 2 * self.scale**2 * z.real)
        return slope

    def pulled_back(self, z: Array, derivative: Array) -> Array:
        """Return d/dRe z + i d/dIm z; for real z the former alone."""
        y, conjugate = self.value(z), derivative.conj()
        by_real: Array = (conjugate * y * (1j * self.omega - 2 * self.scale**2 * z.real)).real
        if not np.iscomplexobj(z):
            return by_real
        by_imaginary: Array = (conjugate * y * (-self.omega - 2 * self.scale**2 * z.imag)).real
        both: Array = by_real + 1j * by_imaginary
        return both


@dataclass(frozen=True)
class Rectifier(Activation):
    """max(z, 0)."""

    def __str__(self) -> str:
        return "ReLU"

    def value(self, z: Array) -> Array:
        """Return y."""
        return np.maximum(z, 0)

    def slope(self, z: Array) -> Array:
        """Return dy/dz."""
        return (z > 0).astype(z.dtype)


@dataclass(frozen=True)
class Tanh(Activation):
    """tanh(z)."""

    def __str__(self) -> str:
        return "tanh"

    def value(self, z: Array) -> Array:
        """Return y."""
        return np.tanh(z)

    def slope(self, z: Array) -> Array:
        """Return dy/dz."""
        return 1 - np.tanh(z) ** 2


# Most octaves of encodings in use.
_MOST_OCTAVES = 16


@dataclass(frozen=True)
class Encoding:
    """Coordinates themselves, or sin(f x) and cos(f x) of frequencies f = lowest · base^i, with x before them or not.

    ``count`` frequencies of each of ``inputs`` coordinates, in the order of :func:`coinr.networks.encoding.encode`, or
    with the sines of all frequencies before the cosines.
    """

    inputs: int
    count: int = 0
    base: float = 2.0
    lowest: float = 1.0
    with_coordinates: bool = True
    sines_first: bool = False

    def is_usual(self) -> bool:
        """Return whether it is an encoding as ReLU networks have it: coordinates, and a few octaves."""
        return self.with_coordinates and self.base == 2 and self.count <= _MOST_OCTAVES

    def value(self, x: Array) -> Array:
        """Return the encoded ``[N, inputs]`` coordinates, float32."""
        x = x.astype(np.float32)
        if not self.count:
            return x
        frequencies = (self.lowest * self.base ** np.arange(self.count)).astype(np.float32)
        phases = x[:, None, :] * frequencies[:, None]
        waves = np.stack((np.sin(phases), np.cos(phases)), 1 if self.sines_first else -2).reshape(len(x), -1)
        return np.concatenate((x, waves), 1) if self.with_coordinates else waves


# Most coordinates, and most frequencies of an encoding.
_MOST_INPUTS, _MOST_FREQUENCIES = 3, 20


def possible_encodings(columns: int) -> list[Encoding]:
    """Return the encodings in use whose results have so many columns."""
    if columns <= _MOST_INPUTS:
        return [Encoding(columns)]
    found = []
    for inputs in range(_MOST_INPUTS, 0, -1):
        waves, left = divmod(columns, inputs)
        with_coordinates, count = bool(waves % 2), waves // 2
        if left or not 0 < count <= _MOST_FREQUENCIES:
            continue
        found += [
            Encoding(inputs, count, base, lowest, with_coordinates)
            for base, lowest in ((2.0, math.pi), (2.0, 1.0), (1.4, math.pi))
        ]
    return found
