"""Scenes in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from coinr.errors import FormatError, InputError
from coinr.inputs.arguments import checked
from coinr.inputs.arrays import to_array
from coinr.networks.families import NerfFamily
from coinr.signal_files.signal_file import ShownBy, SignalFile, check_restored, family_of, numbers, whole
from coinr.signals.cameras import Orbit
from coinr.signals.image.picture import Panels
from coinr.signals.scene.lens import Lens
from coinr.signals.signal import Signal

if TYPE_CHECKING:
    from coinr.networks import Nerf
    from coinr.signals.scene.views import Views

#: Pictures [V, H, W, 3] and depths [V, H, W].
Shown = tuple[NDArray[np.uint8], NDArray[np.float32]]

#: Views that a sheet shows, and the least side they have there.
_SHOWN, _SIDE = 4, 200


@dataclass(frozen=True, repr=False)
class SceneFile(SignalFile):
    """A scene that can be seen from anywhere.

    Attributes
    ----------
    network : Nerf
        A radiance field.
    lens : Lens
        Size and optics of the views that were fitted.
    orbit : Orbit
        Where a camera may stand: a circle like that of the views.
    """

    kind: ClassVar[str] = "scene"
    network: Nerf
    lens: Lens
    orbit: Orbit

    @classmethod
    @checked
    def from_meta(cls, network: ShownBy, meta: Mapping[str, Any]) -> Self:
        """Implement :meth:`SignalFile.from_meta`; see :meth:`Views.meta`."""
        family = family_of(network)
        if not isinstance(family, NerfFamily):
            title = type(network).__name__ if family is None else family.title
            raise FormatError(f"a scene is not shown by a {title}")
        values = numbers(meta, "scene", (9, 10, 11, 12, 13))
        height, width = whole("scene", values[:2])
        coarse, fine = whole("scene", values[5:6], 2, 4096) + whole("scene", values[6:7], 0, 4096)
        focal, near, far, radius = (float(v) for v in (*values[2:5], values[7]))
        if not (0 < focal < 1e30 and 0 <= near < far < 1e30 and 0 <= radius < 1e30):
            raise FormatError("scene metadata has a camera out of range")
        rest = values[9:] + [0.0, 0.0, 0.0, 2][len(values) - 9 :]
        up = whole("scene", rest[3:], 0, 5)[0]
        orbit = Orbit(radius, float(values[8]), (float(rest[0]), float(rest[1]), float(rest[2])), up)
        lens = [focal, width / 2, height / 2]
        given = numbers(meta, "lens", (1, 2, 3)) if "lens" in meta else []
        lens[: len(given)] = map(float, given)
        if not 0 < lens[0] < 1e30 or max(map(abs, lens)) >= 1e30:
            raise FormatError("lens metadata is out of range")
        shift = lens[1] - width / 2, lens[2] - height / 2
        return cls(
            cast("Nerf", network), Lens(height, width, focal, near, far, coarse, fine, lens[0] / focal, shift), orbit
        )

    def describe(self) -> str:
        """Return the size of a view and depths along a ray."""
        lens = self.lens
        return f"scene of views {lens.height} x {lens.width}, {lens.coarse} + {lens.fine} depths a ray"

    @checked
    def render(self, azimuths: list[float], size: tuple[int, int] | None = None) -> Shown:
        """Return what cameras on the orbit see.

        Parameters
        ----------
        azimuths : list of float
            Degrees around the axis, at least one.
        size : (int, int), optional
            Height and width in pixels; those of the views that were fitted if absent.

        Returns
        -------
        ndarray, ndarray
            uint8 [V, H, W, 3], and depths float32 [V, H, W].

        Raises
        ------
        InputError
            If there is no azimuth, or a size is out of range.
        """
        sides = to_array((self.lens.height, self.lens.width) if size is None else size, "size")
        if sides.shape != (2,) or sides.dtype.kind not in "iu" or not 1 <= sides.min() <= sides.max() <= 2**14:
            raise InputError(f"one view or more of 1 .. {2**14} pixels a side are rendered, got a size of {size!r:.80}")
        angles = to_array(azimuths, "azimuths")
        if angles.ndim != 1 or not angles.size or angles.dtype.kind not in "fiu" or not np.isfinite(angles).all():
            raise InputError(f"one view or more are rendered, from azimuths in degrees, got {azimuths!r:.70}")
        from coinr.signals.scene.signal import render_views

        poses = [self.orbit.pose(float(angle)) for angle in angles]
        return render_views(self.network, poses, self.lens.resize(int(sides[0]), int(sides[1])))

    @checked
    def color_depths(self, depths: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return depths [V, H, W] as pictures uint8 [V, H, W, 3]; near is bright."""
        from coinr.signals.plots import color_depths

        return np.stack([color_depths(depth, self.lens.near, self.lens.far) for depth in depths])

    @checked
    def quantize_depths(self, depths: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Return depths as uint16 levels: 0 at the near end of the range, 65535 at the far end."""
        unit = (depths - self.lens.near) / (self.lens.far - self.lens.near)
        return np.asarray(np.rint(unit.clip(0, 1) * 65535), np.uint16)

    @checked
    def restore(self, signal: Signal | None = None) -> Shown:
        """Return four views on the orbit, or the test views of ``signal``."""
        if signal is None:
            return self.render([k * 360 / _SHOWN for k in range(_SHOWN)])
        from coinr.signals.scene.signal import render_views

        test_views = self._eval_views(signal)
        return render_views(self.network, list(test_views.poses), self.lens.resize(*test_views.images.shape[1:3]))

    def _eval_views(self, signal: Signal) -> Views:
        self.check_kind(signal)
        return cast("Views", signal.eval_split)

    @checked
    def metrics(self, signal: Signal, restored: Shown) -> dict[str, Any]:
        """Return the PSNR of every test view, its mean, and the mean SSIM."""
        from coinr.signals.metrics import psnr, ssim

        originals = self._eval_views(signal).images
        check_restored(restored[0], originals.shape)
        pairs = list(zip(originals, restored[0], strict=True))
        by_view = [psnr(original, mine) for original, mine in pairs]
        likeness = [ssim(original, mine) for original, mine in pairs]
        return {
            "psnr": float(np.mean(by_view)),
            "ssim": None if likeness[0] is None else float(np.mean([value for value in likeness if value is not None])),
            "psnr_by_view": by_view,
        }

    @checked
    def panels(self, restored: Shown, signal: Signal | None = None) -> tuple[Panels, int]:
        """Return up to four views and their depths; with a signal, the originals and the errors too."""
        from coinr.signals.sheets import enlarge, error_map

        pictures, depths = restored
        test_views = None if signal is None else self._eval_views(signal).images
        check_restored(
            pictures, (_SHOWN, self.lens.height, self.lens.width, 3) if test_views is None else test_views.shape
        )
        check_restored(depths, pictures.shape[:3])
        count = min(len(pictures), _SHOWN)
        chosen = [k * len(pictures) // count for k in range(count)]
        rows: dict[str, list[NDArray[np.uint8]]] = {"coinr": [pictures[k] for k in chosen]}
        if test_views is not None:
            originals = [test_views[k] for k in chosen]
            errors = [error_map(a, b, gain=4.0) for a, b in zip(originals, rows["coinr"], strict=True)]
            rows = {"original": originals, **rows, "error, 4 times": errors}
        rows["depth"] = list(self.color_depths(depths[chosen]))
        panels = [
            (f"{name}, view {k}", enlarge(picture, _SIDE))
            for name, row in rows.items()
            for k, picture in zip(chosen, row, strict=True)
        ]
        return panels, count
