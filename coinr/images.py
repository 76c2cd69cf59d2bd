"""The names of pictures that moved to :mod:`coinr.signals`."""

from coinr.signals.devices import to_device
from coinr.signals.image import check_image, pixel_coordinates, render_image
from coinr.signals.image_io import IMAGE_SUFFIXES, read_image, write_image
from coinr.signals.metrics import psnr
from coinr.signals.sheets import contact_sheet, error_map

__all__ = [
    "IMAGE_SUFFIXES",
    "check_image",
    "contact_sheet",
    "error_map",
    "pixel_coordinates",
    "psnr",
    "read_image",
    "render_image",
    "to_device",
    "write_image",
]
