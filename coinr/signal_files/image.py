"""Pictures in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from coinr.errors import FormatError
from coinr.inputs.arguments import checked
from coinr.networks.description import ArrayNetwork
from coinr.signal_files.signal_file import ShownBy, SignalFile, check_mlp, check_restored, numbers, whole
from coinr.signals.image.picture import Panels, Picture, describe_image
from coinr.signals.image.rendering import render_image
from coinr.signals.signal import Signal

#: The least that the longer side of a picture on a sheet has, in pixels.
_SIDE = 256

if TYPE_CHECKING:
    from coinr.networks import Mlp
    from coinr.signals.image.signal import ImageSignal


@dataclass(frozen=True, repr=False)
class ImageFile(SignalFile):
    """A picture that can be rendered at any size.

    Attributes
    ----------
    network : Mlp or ArrayNetwork
        Maps (y, x) in [-1, 1]² to 1 .. 4 values in [-1, 1].
    height, width : int
        Size in pixels of the picture that was fitted.
    bits : int
        8 or 16, of each channel.
    """

    kind: ClassVar[str] = "image"
    network: Mlp | ArrayNetwork
    height: int
    width: int
    bits: int = 8

    @classmethod
    @checked
    def from_meta(cls, network: ShownBy, meta: Mapping[str, Any]) -> Self:
        """Implement :meth:`SignalFile.from_meta` for ``{"image": [H, W]}`` or ``[H, W, bits]``."""
        shown = check_mlp(network, cls.kind, 2, range(1, 5))
        height, width, *bits = whole("image", numbers(meta, "image", (2, 3)))
        if bits not in ([], [16]):
            raise FormatError(f"image metadata says {bits[0]} bits; only 16 is stored")
        return cls(shown, height, width, *bits)

    def describe(self) -> str:
        """Return size and channels."""
        return describe_image(self.height, self.width, self.network.out_features, self.bits)

    def rates(self, size: int) -> dict[str, float]:
        """Return the rate in bits per pixel."""
        return {"bits_per_pixel": 8 * size / (self.height * self.width)}

    @checked
    def render(
        self,
        height: int | None = None,
        width: int | None = None,
        *,
        crop: tuple[int, int, int, int] | None = None,
    ) -> Picture:
        """Return the picture, by default at its own size; arguments and errors as :func:`~coinr.render_image`."""
        height = self.height if height is None else height
        width = self.width if width is None else width
        return render_image(self.network, height, width, crop=crop, bits=self.bits)

    def _original(self, signal: Signal) -> ImageSignal:
        """Return a signal of this kind; raise InputError for another."""
        self.check_kind(signal)
        return cast("ImageSignal", signal)

    @checked
    def restore(self, signal: Signal | None = None) -> Picture:
        """Return the picture at its own size."""
        if signal is not None:
            original = self._original(signal)
            size = "{} x {} pixels in {} channels".format
            self.check_size(
                size(self.height, self.width, self.network.out_features),
                size(original.height, original.width, original.out_features),
            )
        return self.render()

    @property
    def _shape(self) -> tuple[int, ...]:
        channels = self.network.out_features
        return (self.height, self.width) if channels == 1 else (self.height, self.width, channels)

    @checked
    def metrics(self, signal: Signal, restored: Picture) -> dict[str, Any]:
        """Return PSNR, SSIM and MS-SSIM."""
        from coinr.signals.metrics import image_metrics

        check_restored(restored, self._shape)
        original = self._original(signal)
        return {**image_metrics(original.image, restored)}

    @checked
    def panels(self, restored: Picture, signal: Signal | None = None) -> tuple[Panels, int]:
        """Return original, picture and error; without a signal, the picture and its middle, enlarged and finer."""
        from coinr.signals.sheets import enlarge, error_map, opaque

        check_restored(restored, self._shape)
        if signal is None:
            side = max(1, min(self.height, self.width) // 3)
            left, top = (self.width - side) // 2, (self.height - side) // 2
            finer = self.render(3 * self.height, 3 * self.width, crop=(3 * top, 3 * left, 3 * side, 3 * side))
            shown = enlarge(opaque(finer), _SIDE)
            return [
                ("picture", enlarge(opaque(restored), _SIDE)),
                ("its middle, enlarged", enlarge(opaque(restored[top : top + side, left : left + side]), len(shown))),
                ("the same, rendered three times finer", shown),
            ], 3
        original = self._original(signal)
        return [
            ("original", enlarge(opaque(original.image), _SIDE)),
            ("coinr", enlarge(opaque(restored), _SIDE)),
            ("error, 8 times", enlarge(error_map(original.image, restored), _SIDE)),
        ], 3
