"""Colors of picture files, made sRGB."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from coinr.errors import DependencyError
from coinr.runtime.optional import import_optional

#: What Pillow calls pictures of so many color channels.
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}

#: White, red, green and blue of sRGB, x and y of each, and the exponent that its curve is near.
_SRGB_POINTS = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_SRGB_GAMMA = 1 / 2.2

#: The same in the words of imagecodecs, and in the header of a profile.
_SPACES = {1: "gray", 3: "rgb", 4: "cmyk"}
_SIGNATURES = {1: (b"GRAY", b"RGB "), 3: (b"RGB ",), 4: (b"CMYK",)}

#: Bytes that every profile begins with.
_LEAST = 128

#: The flag of Little CMS that forbids tables in place of curves: they are off by up to 0.08 of full scale in the dark.
_EXACT = 0x100


def to_srgb(colors: NDArray[Any], profile: bytes | None) -> tuple[NDArray[Any], str | None]:
    """Return the colors of a picture in sRGB, and a note on what was done to them, if anything was.

    Colors are converted by Little CMS with the perceptual intent: 8-bit ones through Pillow, 16-bit ones through
    imagecodecs, which keeps all 16 bits. Those that sRGB does not hold are clipped. A profile that differs from sRGB by
    at most one level of 8 bits changes nothing.

    Parameters
    ----------
    colors : ndarray
        uint8 or uint16 [H, W, C], of full scale; C = 1 gray, 3 RGB, 4 CMYK (full scale is full ink).
    profile : bytes or None
        The ICC profile that the file holds. Gray and RGB without a profile, or with a broken one, are taken as sRGB;
        CMYK is then converted by the formula (1 - ink) (1 - black).

    Returns
    -------
    ndarray, str or None
        uint8 or uint16 [H, W, 1 or 3], and the note.

    Raises
    ------
    DependencyError
        If the library that converts 16-bit colors is not installed.
    """
    cmyk = colors.shape[2] == 4
    if profile is None:
        plain = _plain(colors)
        return plain, "CMYK without a colour profile is converted by the plain formula" if cmyk else None
    try:
        converted = _by_profile(colors, profile)
    except DependencyError:
        raise
    except Exception as error:  # profiles of strangers fail in Little CMS and both its wrappers in many ways
        taken = "CMYK is converted by the plain formula" if cmyk else "the colours are taken as sRGB"
        return _plain(colors), f"the colour profile cannot be used ({_line(str(error))}): {taken}"
    if converted is None:
        return colors, None
    return converted, f"the colours are converted to sRGB from the profile {_name(profile)!r}"


def lab_to_srgb(lab: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return CIE L*a*b* colors [H, W, 3] of white point D50 (L in 0 .. 100) in sRGB, [H, W, 3] of ``dtype``.

    Raises
    ------
    DependencyError
        If the library that converts them is not installed.
    """
    source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    converted: NDArray[Any] = import_optional("imagecodecs").cms_transform(
        lab, source, _srgb(), colorspace="lab", outcolorspace="rgb", outdtype=dtype.name, intent=0
    )
    return converted


def profile_of_chunks(info: Mapping[str, Any]) -> bytes | None:
    """Return an ICC profile that says what the chunks gAMA and cHRM of a PNG file say; None if that is sRGB.

    Parameters
    ----------
    info : mapping
        What Pillow calls ``info``: ``gamma`` and ``chromaticity``, which count only without ``srgb``.

    Raises
    ------
    DependencyError
        If the library that makes profiles is not installed.
    """
    gamma, points = info.get("gamma", _SRGB_GAMMA), info.get("chromaticity", _SRGB_POINTS)
    like_srgb = abs(gamma - _SRGB_GAMMA) < 0.02 and np.allclose(points, _SRGB_POINTS, atol=0.005)
    if "srgb" in info or like_srgb or not (gamma > 0 and min(points) > 0):
        return None
    white, *primaries = ((x, y, 1.0) for x, y in zip(points[::2], points[1::2], strict=True))
    profile: bytes = import_optional("imagecodecs").cms_profile(
        "rgb", whitepoint=white, primaries=[value for point in primaries for value in point], gamma=1 / gamma
    )
    return profile


def _by_profile(colors: NDArray[Any], profile: bytes) -> NDArray[Any] | None:
    """Convert colors to sRGB; None if the profile is that of sRGB."""
    channels = colors.shape[2]
    if len(profile) < _LEAST:
        raise ValueError("it is empty or damaged")
    signature = profile[16:20]
    if signature not in _SIGNATURES[channels]:
        kind = signature.decode("latin-1").strip()
        raise ValueError(f"it is for {kind} and the picture is {_MODES[channels].replace('L', 'grey')}")
    if channels == 1 and signature == b"RGB ":
        colors = colors.repeat(3, axis=2)
    if channels != 4:
        probe = _probe(colors.shape[2])
        if np.abs(_transform(probe, profile).astype(int) - probe).max() <= 1:
            return None
    converted = _transform(colors, profile)
    # gray has no color in any profile; Little CMS may leave a level of it
    return converted[..., 1:2] if channels == 1 else converted


def _probe(channels: int) -> NDArray[np.uint8]:
    """Return colors all over the range, uint8 [1, N, channels]."""
    levels = np.linspace(0, 255, 256 if channels == 1 else 9).astype(np.uint8)
    return np.stack(np.meshgrid(*[levels] * channels), -1).reshape(1, -1, channels)


def _transform(colors: NDArray[Any], profile: bytes) -> NDArray[Any]:
    """Convert colors [H, W, C] to sRGB, [H, W, 3]."""
    height, width, channels = colors.shape
    if colors.dtype == np.uint16:
        wide: NDArray[np.uint16] = import_optional("imagecodecs").cms_transform(
            colors[..., 0] if channels == 1 else np.ascontiguousarray(colors),
            profile,
            _srgb(),
            colorspace=_SPACES[channels],
            outcolorspace="rgb",
            intent=0,
            flags=_EXACT,
        )
        return wide
    image = Image.frombytes(_MODES[channels], (width, height), colors.tobytes())
    shown = ImageCms.profileToProfile(image, io.BytesIO(profile), io.BytesIO(_srgb()), outputMode="RGB")
    return np.asarray(shown)


def _plain(colors: NDArray[Any]) -> NDArray[Any]:
    """Return gray and RGB unchanged, CMYK converted by the formula."""
    if colors.shape[2] != 4:
        return colors
    full = np.iinfo(colors.dtype).max
    unit = 1 - colors / full
    return np.rint(unit[..., :3] * unit[..., 3:] * full).astype(colors.dtype)


@functools.cache
def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _name(profile: bytes) -> str:
    """Return the name of a profile."""
    try:
        text = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except ImageCms.PyCMSError:
        text = ""
    return _line(text) or "without a name"


def _line(text: str) -> str:
    """Return at most 60 characters of a text from a file, on one line."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:60]
