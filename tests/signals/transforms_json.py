"""Folders with a transforms.json, and what is read from them."""

import json

import numpy as np
import torch
from PIL import Image

from coinr.signals.cameras import Orbit
from coinr.signals.scene.files import read_scene_folder

SIZE = 16, 12  # across, down
PINHOLE = {"fl_x": 20.0, "fl_y": 20.0, "cx": 8.0, "cy": 6.0, "w": 16, "h": 12}
ANGLE = 2 * np.arctan(8 / 20)


def frames(count=6, **more):
    """Frames on an orbit, each with its picture's name."""
    return [{"file_path": f"images/{k}.png", "transform_matrix": Orbit(4, 30).pose(60 * k).tolist(), **more}
            for k in range(count)]  # fmt: skip


def write(folder, top=PINHOLE, listed=None, name="transforms.json", encoding="utf-8", count=6):
    """A folder with pictures of one gray level each, and the file."""
    (folder / "images").mkdir(exist_ok=True)
    for k in range(count):
        Image.new("RGB", SIZE, (40 * k,) * 3).save(folder / "images" / f"{k}.png")
    text = json.dumps({**top, "frames": frames(count) if listed is None else listed}, indent=1)
    (folder / name).write_bytes(text.encode(encoding))
    return folder


def read(folder, **options):
    return read_scene_folder(folder, (4, 4), **options)


def towards(scene, row, column, view=0):
    """The ray through a pixel in the camera's axes: right, up, and -1."""
    rays, _ = scene.batch(torch.tensor([(view * SIZE[1] + row) * SIZE[0] + column]))
    return scene.poses[view][:3, :3].T @ rays[0, 3:].numpy()
