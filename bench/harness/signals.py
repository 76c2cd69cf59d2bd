"""The signals that the corpus's networks are trained on, from the data folder or bundled and generated.

A :class:`Samples` is all that training and evaluation need of a signal: inputs and targets.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NEAR, FAR = 2.0, 6.0  # of every scene, in units of the rays' directions

#: Samples on which occupancy is evaluated.
_EVAL_VOXELS = 65536


@dataclass(frozen=True)
class Samples:
    """A sampled signal.

    Attributes
    ----------
    inputs : Tensor
        float32 ``[N, a]``: coordinates, or rays (origin, direction) of a scene.
    targets : Tensor
        float32 ``[N, b]``.
    eval_inputs, eval_targets : Tensor
        The part on which quality is measured; of a scene, rays of views that training does not see.
    """

    inputs: Tensor
    targets: Tensor
    eval_inputs: Tensor
    eval_targets: Tensor


def photo(name: str, data: Path | None) -> Samples:
    """Return pixels (y, x) -> RGB in [-1, 1]; every second pixel of every second row is evaluated."""
    grid, values = _pixels(pixels_of(name, data))
    return Samples(
        grid.reshape(-1, 2), values.reshape(-1, 3), grid[::2, ::2].reshape(-1, 2), values[::2, ::2].reshape(-1, 3)
    )


def picture(name: str, data: Path | None) -> Samples:
    """Make samples as :func:`photo`, all pixels evaluated; ``NAME-half`` is averaged to half the size first."""
    pixels = pixels_of(name.removesuffix("-half"), data)
    grid, values = _pixels(halve(pixels) if name.endswith("-half") else pixels)
    inputs, targets = grid.reshape(-1, 2), values.reshape(-1, 3)
    return Samples(inputs, targets, inputs, targets)


def crop_of_photo(name: str, data: Path | None) -> Samples:
    """Make samples as :func:`picture` of the middle of a photo; ``kodim03-64`` is 64 × 64 pixels."""
    photo_name, side = name.rsplit("-", 1)
    pixels, size = pixels_of(photo_name, data), int(side)
    top, left = ((length - size) // 2 for length in pixels.shape[:2])
    grid, values = _pixels(pixels[top : top + size, left : left + size])
    inputs, targets = grid.reshape(-1, 2), values.reshape(-1, 3)
    return Samples(inputs, targets, inputs, targets)


#: Side of a patch in pixels.
PATCH = 32


def patches(name: str, data: Path | None) -> Samples:
    """Make samples as :func:`crop_of_photo`, in patches: index of the patch, and coordinates in [-1, 1] within it."""
    photo_name, side = name.rsplit("-", 1)
    pixels, size = pixels_of(photo_name, data), int(side)
    top, left = ((length - size) // 2 for length in pixels.shape[:2])
    inputs, targets = [], []
    for index in range(patch_count(name)):
        y, x = (PATCH * at for at in divmod(index, size // PATCH))
        grid, values = _pixels(pixels[top + y : top + y + PATCH, left + x : left + x + PATCH])
        flat = grid.reshape(-1, 2)
        inputs.append(torch.cat((torch.full((len(flat), 1), float(index)), flat), 1))
        targets.append(values.reshape(-1, 3))
    both = torch.cat(inputs), torch.cat(targets)
    return Samples(*both, *both)


def patch_count(name: str) -> int:
    """Return the number of patches of a square crop; ``kodim03-128`` has 16."""
    return (int(name.rsplit("-", 1)[1]) // PATCH) ** 2


def halve(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return means of 2 × 2 pixels, rounded; an odd last row or column is left out."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    blocks = pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1)
    means: NDArray[np.uint8] = np.rint(blocks.mean((1, 3))).astype(np.uint8)
    return means


def pixels_of(name: str, data: Path | None) -> NDArray[np.uint8]:
    """Return 8-bit pixels ``[height, width, 3]``: of Kodak, else a photo of scikit-image."""
    if name.startswith("kodim"):
        from coinr import read_image

        assert data is not None, "Kodak pictures need the data folder"
        return read_image(data / "kodak" / f"{name}.png")
    import skimage.data

    pixels: NDArray[np.uint8] = getattr(skimage.data, name)()
    return pixels


def _pixels(pixels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Return coordinates ``[height, width, 2]`` and values ``[height, width, 3]``, both in [-1, 1]."""
    height, width = pixels.shape[:2]
    y = (2 * torch.arange(height) + 1) / height - 1
    x = (2 * torch.arange(width) + 1) / width - 1
    return (
        torch.stack(torch.meshgrid(y, x, indexing="ij"), -1),
        torch.from_numpy(pixels.astype(np.float32)) / 127.5 - 1,
    )


def sound(name: str, data: Path | None) -> Samples:
    """Time in [-1, 1] -> amplitude, 2 s at 22 050 Hz, peak 1; all samples are evaluated."""
    if name == "bach":
        assert data is not None, "the recording needs the data folder"
        with wave.open(str(data / "audio" / "bach.wav")) as file:
            raw = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)
        start = 44_100
        values = raw[start : start + 88_200].reshape(-1, 2).mean(1)  # 44 100 Hz to 22 050 Hz
    else:
        values = _tones()
    values = values / np.abs(values).max()
    times = torch.linspace(-1, 1, len(values))[:, None]
    targets = torch.from_numpy(values.astype(np.float32))[:, None]
    return Samples(times, targets, times, targets)


def clip(name: str, data: Path | None) -> Samples:
    """Make samples as :func:`sound` of the first part; ``bach-8192`` is of 8192 samples."""
    sound_name, count = name.rsplit("-", 1)
    targets = sound(sound_name, data).targets[: int(count)].contiguous()
    times = torch.linspace(-1, 1, len(targets))[:, None]
    return Samples(times, targets, times, targets)


def _tones() -> NDArray[np.float32]:
    """Return eight plucked notes with six partials each."""
    t = np.arange(44_100) / 22_050
    out = np.zeros_like(t)
    for k, pitch in enumerate((110.0, 165.0, 220.0, 262.0, 196.0, 147.0, 131.0, 98.0)):
        since = t - k / 4
        envelope = np.where(since >= 0, np.minimum(since * 200, 1) * np.exp(-np.maximum(since, 0) * 5), 0)
        for partial in range(1, 7):
            out += envelope * np.sin(2 * np.pi * pitch * partial * since + partial) / partial**1.5
    return out.astype(np.float32)


def shape(name: str, data: Path | None) -> Samples:
    """Return voxel centers of the tight box, in [-1, 1]³ -> occupancy 0 or 1; a fixed random choice is evaluated."""
    whole = volume("lucy_128" if name == "lucy" else name, data)
    chosen = torch.randperm(len(whole.inputs), generator=torch.Generator().manual_seed(0))[:_EVAL_VOXELS]
    return Samples(whole.inputs, whole.targets, whole.inputs[chosen], whole.targets[chosen])


def volume(name: str, data: Path | None) -> Samples:
    """Make samples as :func:`shape`, all voxels evaluated."""
    voxels = crop(occupancy(name, data))
    axes = [(2 * torch.arange(n) + 1) / n - 1 for n in voxels.shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    values = torch.from_numpy(voxels.reshape(-1, 1).astype(np.float32))
    return Samples(grid, values, grid, values)


def occupancy(name: str, data: Path | None) -> NDArray[np.bool_]:
    """Return voxels ``[x, y, z]``: a file of the data folder's ``shapes``, or the generated ``knot``."""
    if name == "knot":
        return _knot(96)
    assert data is not None, "this shape needs the data folder"
    stored = np.load(data / "shapes" / f"{name}.npz", allow_pickle=False)
    size = tuple(int(n) for n in stored["shape"])
    return np.unpackbits(stored["occupancy"])[: int(np.prod(size))].reshape(size).astype(bool)


def crop(voxels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the smallest box that holds all voxels set."""
    for axis in range(3):
        used = np.flatnonzero(voxels.any(axis=tuple(k for k in range(3) if k != axis)))
        voxels = np.take(voxels, np.arange(used[0], used[-1] + 1), axis)
    return voxels


def _knot(size: int) -> NDArray[np.bool_]:
    """Return a trefoil tube with bumps in a cube of ``size`` voxels a side."""
    axis = (2 * np.arange(size) + 1) / size - 1
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).astype(np.float32)
    nearest = np.full(grid.shape[:3], np.inf, np.float32)
    for t in np.linspace(0, 2 * np.pi, 400, endpoint=False):
        radius = 2 + np.cos(3 * t)
        center = np.array([radius * np.cos(2 * t), radius * np.sin(2 * t), 1.2 * np.sin(3 * t)], np.float32) / 3.4
        thick = 0.16 + 0.03 * np.sin(24 * t)
        nearest = np.minimum(nearest, np.sqrt(((grid - center) ** 2).sum(-1)) - thick)
    inside: NDArray[np.bool_] = nearest < 0
    return inside


def scene(name: str, data: Path | None) -> Samples:
    """Return rays -> RGB in [0, 1] over white; two held-out views at half resolution are evaluated."""
    if name == "lego":
        assert data is not None, "the scene needs the data folder"
        stored = np.load(data / "nerf" / "lego_100.npz", allow_pickle=False)
        images, poses, focal = stored["images"], stored["poses"], float(stored["focal"])
        held_out, test_poses = stored["test_images"][[4, 16]], stored["test_poses"][[4, 16]]
        train, test = (_over_white(part.astype(np.float32) / 255) for part in (images, held_out))
    else:
        focal = 138.8889
        poses, test_poses = _orbit(60, 0), _orbit(2, 1)
        train, test = (_spheres(part, focal, 100) for part in (poses, test_poses))
    rays = _rays(poses, focal, train.shape[1])
    held_out_rays = _rays(test_poses, focal, test.shape[1])
    return Samples(
        torch.from_numpy(rays.reshape(-1, 6)),
        torch.from_numpy(train.reshape(-1, 3)),
        torch.from_numpy(held_out_rays[:, ::2, ::2].reshape(-1, 6).copy()),
        torch.from_numpy(test[:, ::2, ::2].reshape(-1, 3).copy()),
    )


def _over_white(rgba: NDArray[np.float32]) -> NDArray[np.float32]:
    return rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:])


def _rays(poses: NDArray[np.float32], focal: float, size: int) -> NDArray[np.float32]:
    """Return rays float32 ``[V, size, size, 6]`` through the pixel centers; directions have depth 1 along the view."""
    center = (np.arange(size) + 0.5 - size / 2) / focal
    x, y = np.meshgrid(center, -center)
    camera = np.stack([x, y, -np.ones_like(x)], -1)
    directions = np.einsum("vij,hwj->vhwi", poses[:, :3, :3], camera)
    origins = np.broadcast_to(poses[:, None, None, :3, 3], directions.shape)
    return np.concatenate([origins, directions], -1).astype(np.float32)


def _orbit(views: int, seed: int) -> NDArray[np.float32]:
    """Return camera-to-world poses ``[views, 4, 4]`` on an upper half sphere of radius 4, looking at the origin."""
    rng = np.random.default_rng(seed)
    poses = np.zeros((views, 4, 4), np.float32)
    for pose in poses:
        azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.9)
        back = np.array([np.cos(azimuth), np.sin(azimuth), height])
        back /= np.linalg.norm(back)
        right = np.cross([0.0, 0.0, 1.0], back)
        right /= np.linalg.norm(right)
        pose[:3] = np.stack([right, np.cross(back, right), back, 4 * back], 1)
        pose[3, 3] = 1
    return poses


def _spheres(poses: NDArray[np.float32], focal: float, size: int) -> NDArray[np.float32]:
    """Return pictures ``[V, size, size, 3]`` of a ring of painted spheres around a large one."""
    rays = _rays(poses, focal, size)
    origins, directions = rays[..., :3], rays[..., 3:]
    directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    picture, nearest = np.ones_like(origins), np.full(origins.shape[:3], np.inf, np.float32)
    angles = np.linspace(0, 2 * np.pi, 7, endpoint=False)
    balls = [(np.zeros(3), 0.55)] + [(np.array([0.95 * np.cos(a), 0.95 * np.sin(a), 0.1]), 0.25) for a in angles]
    for k, (center, radius) in enumerate(balls):
        offset = origins - center
        along = (offset * directions).sum(-1)
        inside = along**2 - (offset**2).sum(-1) + radius**2
        depth = -along - np.sqrt(np.maximum(inside, 0))
        hit = (inside > 0) & (depth < nearest)
        point = origins + depth[..., None] * directions
        normal = (point - center) / radius
        light = 0.35 + 0.65 * np.clip(normal @ np.array([0.5, 0.3, 0.81]), 0, 1)
        paint = 0.5 + 0.5 * np.cos(k + np.array([0.0, 2.1, 4.2]) + 9 * normal[..., 2:])
        picture = np.where(hit[..., None], light[..., None] * paint, picture)
        nearest = np.where(hit, depth, nearest)
    return picture.astype(np.float32)


#: How each kind of signal is made: name and data folder to samples.
KINDS: dict[str, Callable[[str, Path | None], Samples]] = {
    "photo": photo,
    "picture": picture,
    "crop": crop_of_photo,
    "patches": patches,
    "sound": sound,
    "clip": clip,
    "shape": shape,
    "volume": volume,
    "scene": scene,
}
