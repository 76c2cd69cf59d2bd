"""Networks and signals as FORMAT.md's section on metadata has them, in NumPy and from its text alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = Mapping[str, Array]

_ENCODING = {"L": 0, "base": 2, "lowest": 1}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "siren": {"omega": 30, "first": None, **_ENCODING},
    "finer": {"omega": 30, "first": None, **_ENCODING},
    "gauss": {"scale": 10, **_ENCODING},
    "wire": _ENCODING,
    "relu": {**_ENCODING, "L": 10},
}


def _encoded(x: Array, count: int, base: float, lowest: float) -> Array:
    parts = [x]
    for step in range(count):
        f = np.float64(np.float32(lowest * base**step))
        parts += [np.sin(f * x), np.cos(f * x)]
    return np.concatenate(parts, -1)


def _affine(tensors: Tensors, name: str, x: Array) -> Array:
    wide = np.complex128 if np.iscomplexobj(tensors[name + ".weight"]) else np.float64
    return x @ tensors[name + ".weight"].astype(wide).T + tensors[name + ".bias"].astype(wide)


def values(meta: Mapping[str, Any], tensors: Tensors, x: Array) -> Array:
    """What a network other than ``nerf`` gives for coordinates [N, a]: float64 [N, b]."""
    (kind,) = set(SETTINGS) & set(meta)
    given = meta[kind] if isinstance(meta[kind], list) else [meta[kind]]
    chosen = {**SETTINGS[kind], **dict(zip(SETTINGS[kind], given, strict=False))}
    inner, last = ("net.{}.linear", "net.{}") if kind in ("gauss", "wire") else ("layers.{}", "layers.{}")
    top = max(int(name.split(".")[1]) for name in tensors)
    y = _encoded(x.astype(np.float64), chosen["L"], chosen["base"], chosen["lowest"])
    for i in range(top):
        z = _affine(tensors, inner.format(i), y)
        omega = chosen.get("omega")
        if i == 0 and chosen.get("first") is not None:
            omega = chosen["first"]
        if kind == "siren":
            y = np.sin(omega * z)
        elif kind == "finer":
            y = np.sin(omega * (np.abs(z) + 1) * z)
        elif kind == "gauss":
            y = np.exp(-((chosen["scale"] * z) ** 2))
        elif kind == "wire":
            omega, sigma = (float(tensors[f"net.{i}.{name}"][0]) for name in ("omega_0", "scale_0"))
            y = np.exp(1j * omega * z - np.abs(sigma * z) ** 2)
        else:
            y = np.maximum(0, z)
    out: Array = _affine(tensors, last.format(top), y).real
    return out


def picture(meta: Mapping[str, Any], tensors: Tensors, height: int, width: int) -> Array:
    """The picture at any size, whole numbers [H, W, C]."""
    full = 2 ** (meta["image"][2] if len(meta["image"]) == 3 else 8) - 1
    r, c = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    at = np.stack(((2 * r + 1) / height - 1, (2 * c + 1) / width - 1), -1).reshape(-1, 2)
    unit = (values(meta, tensors, at) + 1) / 2
    if unit.shape[1] in (2, 4):
        unit[:, :-1] /= unit[:, -1:].clip(1e-6, 1)
    return np.rint(full * unit).clip(0, full).reshape(height, width, -1)


def sound(meta: Mapping[str, Any], tensors: Tensors, rate: int) -> Array:
    """The sound at any rate, [N, C]."""
    count, original, exponent = [*meta["audio"], 0][:3]
    count = max(1, round(count * rate / original))
    return values(meta, tensors, ((2 * np.arange(count) + 1) / count - 1)[:, None]) / 2.0**exponent


def volume(meta: Mapping[str, Any], tensors: Tensors, grid: tuple[int, int, int]) -> tuple[Array, list[float]]:
    """Values on a grid of any size, distances where the original has them, and where the grid lies among meshes."""
    numbers = meta["shape"]
    whole, rest = numbers[:3], numbers[3:]
    start, size = (rest[:3], rest[3:6]) if len(rest) >= 6 else ([0, 0, 0], whole)
    placement = rest[-4:] if len(rest) in (4, 10) else [*(-n / max(whole) for n in whole), 2 / max(whole)]
    axes = [(np.arange(n) + 0.5) * full / n - a for n, full, a in zip(grid, whole, start, strict=True)]
    t = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    seen = ((t >= 0) & (t < size)).all(1)
    v = np.where(seen, values(meta, tensors, 2 * t / size - 1)[:, 0], 0).reshape(grid)
    return v * meta.get("sdf", 1), placement


def _field(tensors: Tensors, name: str, points: Array, direction: Array) -> tuple[Array, Array]:
    """Densities [S] and colors [S, 3] of points [S, 3] seen from a unit direction [3]."""
    mine = {key.removeprefix(name): tensor for key, tensor in tensors.items() if key.startswith(name)}
    e = _encoded(points, (mine["pts_linears.0.weight"].shape[1] - 3) // 6, 2, 1)
    h = e
    for i in range(sum(key.startswith("pts_linears.") for key in mine) // 2):
        if i and mine[f"pts_linears.{i}.weight"].shape[1] == h.shape[1] + e.shape[1]:
            h = np.concatenate((e, h), -1)
        h = np.maximum(0, _affine(mine, f"pts_linears.{i}", h))
    density = np.maximum(0, _affine(mine, "alpha_linear", h))[:, 0]
    feature = _affine(mine, "feature_linear", h)
    left = mine["views_linears.0.weight"].shape[1] - feature.shape[1]
    seen = np.tile(_encoded(direction, (left - 3) // 6, 2, 1), (len(points), 1))
    g = np.maximum(0, _affine(mine, "views_linears.0", np.concatenate((feature, seen), -1)))
    return density, 1 / (1 + np.exp(-_affine(mine, "rgb_linear", g)))


def _march(tensors: Tensors, name: str, o: Array, towards: Array, t: Array) -> tuple[Array, Array]:
    """The weights [S] of depths along a ray, and its color [3]."""
    length = float(np.linalg.norm(towards))
    density, color = _field(tensors, name, o + t[:, None] * towards, towards / length)
    q = np.exp(-density * length * np.append(np.diff(t), 1e10))
    a = (1 - q) * np.concatenate(([1], np.cumprod(q + 1e-10)[:-1]))
    return a, (a[:, None] * color).sum(0) + 1 - a.sum()


def view(meta: Mapping[str, Any], tensors: Tensors, azimuth: float, size: tuple[int, int]) -> tuple[Array, Array]:
    """The view [H, W, 3] of a camera on the orbit, whole numbers, and its depths [H, W]."""
    given = meta["scene"] + [0, 0, 0, 2][len(meta["scene"]) - 9 :]
    height, width, focal, near, far, coarse, fine, radius, elevation, x, y, z, up = given
    lens = [focal, width / 2, height / 2]
    lens[: len(meta.get("lens", []))] = meta.get("lens", [])
    times = size[1] / width
    focal, down = focal * times, lens[0] * times
    middle = size[1] / 2 + (lens[1] - width / 2) * times, size[0] / 2 + (lens[2] - height / 2) * times
    u, s = np.zeros(3), np.zeros(3)
    u[up % 3] = s[(up + 1) % 3] = 1 if up < 3 else -1
    w = np.cross(u, s)
    alpha, epsilon = np.radians(azimuth), np.radians(elevation)
    back = np.cos(epsilon) * (s * np.cos(alpha) + w * np.sin(alpha)) + u * np.sin(epsilon)
    right = w * np.cos(alpha) - s * np.sin(alpha)
    axes = np.stack((right, np.cross(back, right), back), 1)
    o = np.array([x, y, z]) + radius * back
    other = "fine." if any(name.startswith("fine.") for name in tensors) else "coarse."
    colors, depths = np.empty((*size, 3)), np.empty(size)
    for r in range(size[0]):
        for c in range(size[1]):
            towards = axes @ [(c + 0.5 - middle[0]) / focal, (middle[1] - r - 0.5) / down, -1]
            t = np.linspace(near, far, coarse)
            a, color = _march(tensors, "coarse.", o, towards, t)
            if fine:
                t = np.sort(np.concatenate((t, _drawn(t, a, fine))))
                a, color = _march(tensors, other, o, towards, t)
            colors[r, c], depths[r, c] = color, (a * t).sum() + (1 - a.sum()) * far
    return np.rint(255 * colors).clip(0, 255), depths


def _drawn(t: Array, a: Array, count: int) -> Array:
    edges, chances = ((t[1:] + t[:-1]) / 2, a[1:-1] + 1e-5) if len(t) > 2 else (t, np.ones(1))
    cumulated = np.concatenate(([0], np.cumsum(chances / chances.sum())))
    return np.interp(np.linspace(0, 1, count), cumulated, edges)
