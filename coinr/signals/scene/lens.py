"""How rays of a scene are cast and marched."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Lens:
    """How rays are cast and marched.

    Attributes
    ----------
    height, width : int
        Pixels of a picture.
    focal : float
        Focal length in pixels.
    near, far : float
        Range of depths.
    coarse, fine : int
        Depths that the two networks are evaluated at, see :func:`coinr.networks.render_rays`.
    stretch : float
        How many times as long the focal length is down as across.
    shift : (float, float)
        By how many pixels the camera's axis passes to the right of the middle and below it.
    """

    height: int
    width: int
    focal: float
    near: float
    far: float
    coarse: int = 32
    fine: int = 32
    stretch: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def resize(self, height: int, width: int) -> Lens:
        """Return the lens for pictures of another size, with the same angle of view across."""
        times = width / self.width
        shift = (self.shift[0] * times, self.shift[1] * times)
        return replace(self, height=height, width=width, focal=self.focal * width / self.width, shift=shift)
