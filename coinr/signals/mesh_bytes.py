"""What the bytes of a mesh file tell before it is parsed: its kind, whether it is whole, and what will not be read."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from coinr.errors import InputError

#: Suffixes of meshes that are read.
MESH_INPUTS = (".ply", ".obj", ".stl", ".off", ".glb", ".gltf")

#: First bytes of meshes, and the kinds that they name.
_MARKS = (
    *((b"ply\n", "ply"), (b"ply\r", "ply"), (b"glTF", "glb"), (b"solid ", "stl")),
    *((b"OFF", "off"), (b"COFF", "off"), (b"NOFF", "off")),
)

#: Extensions of glTF that hide geometry from a reader without them.
_HIDING = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression", "KHR_mesh_quantization")

#: Primitives of glTF that are surfaces and read, and those that are none.
_TRIANGLES, _NO_SURFACE = (4, 5), (0, 1, 2, 3)


def mesh_kind(data: bytes, suffix: str) -> str | None:
    """Return the kind of a mesh file, such as ``"ply"``, by its first bytes or else its suffix; None if unknown."""
    for mark, kind in _MARKS:
        if data.startswith(mark):
            return kind
    return suffix.lower()[1:] if suffix.lower() in MESH_INPUTS else None


def check_mesh_bytes(data: bytes, kind: str | None) -> tuple[str, ...]:
    """Return notes on what of a mesh file is not read.

    Raises
    ------
    InputError
        If the file ends too early, or stores geometry in a way that is not read.
    """
    if not data:
        raise InputError("the file is empty")
    if (kind == "ply" and not data.startswith(b"ply")) or (kind == "glb" and not data.startswith(b"glTF")):
        raise InputError(f"the file is no {kind.upper()}: it begins with {data[:4]!r}")
    if kind in ("glb", "gltf"):
        return _check_gltf(_gltf_tree(data, kind))
    missing = {"ply": _missing_ply, "stl": _missing_stl, "off": _missing_off}.get(kind or "", _missing_obj)(data)
    if missing:
        raise InputError(f"the file is truncated: {missing}")
    return ()


def ends_within_line(path: Path) -> bool:
    """Return whether an OBJ file ends without the end of a line, as it does where it was cut off."""
    data = path.read_bytes()
    return mesh_kind(data, path.suffix) == "obj" and not data.endswith((b"\n", b"\r"))


def _missing_obj(data: bytes) -> str | None:
    """Say what the last line of an OBJ file lacks."""
    words = data[-4096:].rstrip(b"\n\r").splitlines()[-1:]
    kind, *rest = words[0].split() or [b""] if words else [b""]
    return f"its last line is {words[0].decode(errors='replace')!r}" if kind in (b"v", b"f") and len(rest) < 3 else None


def _missing_ply(data: bytes) -> str | None:
    """Say what the end of a PLY file lacks; the parser checks the lengths of binary ones."""
    header, end, body = data.partition(b"end_header")
    if not end:
        return "its header has no end"
    if b"ascii" not in header:
        return None
    wanted = sum(int(count) for count in re.findall(rb"^element\s+\S+\s+(\d+)", header, re.MULTILINE))
    got = sum(bool(line.strip()) for line in body.splitlines())
    return f"its header tells of {wanted} lines, {got} are there" if got < wanted else None


def _missing_stl(data: bytes) -> str | None:
    """Say what the end of an STL file lacks."""
    if data.lstrip()[:5].lower() == b"solid" and b"\0" not in data[:512]:
        return None if b"endsolid" in data[-4096:].lower() else "it has no 'endsolid'"
    if len(data) < 84:
        return f"a binary STL has 84 bytes or more, this has {len(data)}, or it is none"
    (count,) = struct.unpack_from("<I", data, 80)
    wanted = 84 + 50 * count
    return f"{count} triangles take {wanted} bytes, it has {len(data)}, or it is no STL" if len(data) < wanted else None


def _missing_off(data: bytes) -> str | None:
    """Say what the end of an OFF file lacks."""
    lines = [line.split(b"#")[0].strip() for line in data.splitlines()]
    text = b"\n".join(line for line in lines if line)
    found = re.match(rb"[A-Za-z0-9]*OFF\s+(\d+)\s+(\d+)(\s+\d+)?[ \t]*(\n|$)", text)
    if not found:
        return None
    wanted = int(found[1]) + int(found[2])
    got = len(text[found.end() :].splitlines())
    return f"its header tells of {wanted} lines, {got} are there" if got < wanted else None


def _gltf_tree(data: bytes, kind: str) -> dict[str, Any]:
    """Return the JSON of a glTF file."""
    text = data
    if kind == "glb":
        if len(data) < 20 or len(data) < (length := struct.unpack_from("<I", data, 8)[0]):
            total = f"{length} bytes" if len(data) >= 20 else "20 bytes or more"
            raise InputError(f"the file is truncated: it should have {total}, it has {len(data)}")
        (size,) = struct.unpack_from("<I", data, 12)
        text = data[20 : 20 + size]
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its JSON is damaged or truncated ({error})") from error
    if not isinstance(tree, dict):
        raise InputError("its JSON is no object")
    return tree


def _check_gltf(tree: dict[str, Any]) -> tuple[str, ...]:
    """Return notes on what of a glTF file is not read; InputError for geometry that could not be."""
    if hiding := [name for name in tree.get("extensionsRequired", ()) if name in _HIDING]:
        raise InputError(f"its geometry needs {', '.join(hiding)}, which is not read; export it without")
    modes = [part.get("mode", 4) for mesh in tree.get("meshes", ()) for part in mesh.get("primitives", ())]
    if others := sorted({mode for mode in modes if mode not in (*_TRIANGLES, *_NO_SURFACE)}):
        raise InputError(f"it has primitives of mode {others[0]}, which are not read; export it as triangles")
    left = [name for name in ("skins", "animations") if tree.get(name)]
    left += ["points and lines"] if any(mode in _NO_SURFACE for mode in modes) else []
    return (f"{', '.join(left)} in it are not used",) if left else ()
