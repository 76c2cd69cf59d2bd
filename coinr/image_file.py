"""An image as a coinr file: the state dict of a :class:`~coinr.Siren`, and metadata that says how to show it.

The metadata is ``{"image":[H,W],"siren":omega}``: the size in pixels of the picture that was fitted, and the frequency
factor of the network. All else follows from the tensors' shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from coinr.codec import decode_state_dict, encode_state_dict, read_meta
from coinr.errors import FormatError, InputError
from coinr.images import render_image
from coinr.networks import Siren
from coinr.table import Limits


@dataclass(frozen=True)
class ImageFile:
    """A picture that can be rendered at any size.

    Attributes
    ----------
    network : Siren
        Maps (y, x) in [-1, 1]² to 1 or 3 values in [-1, 1].
    height, width : int
        Size in pixels of the picture that was fitted.
    """

    network: Siren
    height: int
    width: int

    def render(
        self,
        height: int | None = None,
        width: int | None = None,
        *,
        crop: tuple[int, int, int, int] | None = None,
    ) -> NDArray[np.uint8]:
        """Return the picture, by default at its own size; arguments and errors as :func:`~coinr.render_image`."""
        height = self.height if height is None else height
        width = self.width if width is None else width
        return render_image(self.network, height, width, crop=crop)


def pack_image(network: nn.Module, height: int, width: int, seed: int = 0, **options: Any) -> bytes:
    """Return a coinr file of the picture that ``network`` shows at ``height`` × ``width`` pixels.

    Parameters
    ----------
    network : nn.Module
        A :class:`~coinr.Siren` with 2 inputs and 1 or 3 outputs.
    height, width : int
        Size of the picture in pixels.
    seed, **options
        As for :func:`~coinr.encode_state_dict`, without ``meta``.

    Raises
    ------
    InputError
        If the network does not show a picture, or an option is out of range.
    """
    if not isinstance(network, Siren) or network.in_features != 2 or network.out_features not in (1, 3):
        raise InputError("image files hold a Siren of 2 inputs and 1 or 3 outputs; use encode_state_dict for others")
    if not (0 < height < 2**31 and 0 < width < 2**31):
        raise InputError(f"height and width must be in 1 .. 2^31 - 1, got {height} x {width}")
    omega = int(network.omega) if network.omega.is_integer() else network.omega
    meta = {"image": [height, width], "siren": omega}
    return encode_state_dict(network.state_dict(), seed, meta=meta, **options)


def open_image(blob: bytes, *, limits: Limits | None = None) -> ImageFile:
    """Return the picture in a coinr file; decodes the network, renders nothing.

    Raises
    ------
    InputError
        If the file is sound and holds something other than an image.
    FormatError
        If its metadata and tensors do not describe a picture, or the bytes are no coinr file.
    CoinrError
        As :func:`~coinr.decode_state_dict`.
    """
    meta = read_meta(blob)
    if "image" not in meta:
        raise InputError("the file holds weights and no image; unpack it instead")
    size, omega = meta["image"], meta.get("siren")
    if not isinstance(size, list) or len(size) != 2 or not all(type(v) is int and 0 < v < 2**31 for v in size):
        raise FormatError(f"image metadata {str(size)[:60]} is not [height, width]")
    try:
        network = Siren.from_state_dict(decode_state_dict(blob, limits=limits), omega)  # type: ignore[arg-type]
    except InputError as error:
        raise FormatError(f"the file says it is an image, but {error}") from error
    if network.in_features != 2 or network.out_features not in (1, 3):
        raise FormatError(
            f"an image has 2 inputs and 1 or 3 outputs, not {network.in_features}, {network.out_features}"
        )
    return ImageFile(network, size[0], size[1])
