"""What is done with the bytes of a mesh file before it is parsed.

The bytes show the kind, whether the file is whole, and what will not be read. What the parser refuses is rewritten.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from coinr.errors import InputError
from coinr.signals.shape.ply import plain_ply

#: Suffixes of meshes that are read.
MESH_INPUTS = (".ply", ".obj", ".stl", ".off", ".glb", ".gltf")

#: First bytes of meshes, and the kinds that they name.
_MARKS = (
    *((b"ply\n", "ply"), (b"ply\r", "ply"), (b"glTF", "glb"), (b"solid ", "stl")),
    *((b"OFF", "off"), (b"COFF", "off"), (b"NOFF", "off")),
)

#: Extensions of glTF that hide geometry from a reader without them.
_HIDING = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression", "KHR_mesh_quantization")

#: One that shows a mesh many times, at places that a reader without it does not see.
_INSTANCES = "EXT_mesh_gpu_instancing"

#: Lines of OBJ that trimesh may leave out or misread: indented, continued, with tabs, comments, corners counted from
#: the end or of several forms.
_ODD_LINES = re.compile(rb"^[ \t]+[vf]\b|^[vf]\t|^f[^\n]*[-#\t/]|\\\r?\n", re.MULTILINE)

#: Faces of OBJ that are none.
_SHORT_FACES = re.compile(rb"^f(?: +[^ \r\n]+){0,2} *\r?$", re.MULTILINE)

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
    rest = _behind_stl(data) if kind == "stl" else 0
    return (f"{rest} bytes behind the triangles are not used",) if rest else ()


def parsable(data: bytes, kind: str | None) -> tuple[bytes, tuple[str, ...]]:
    """Return a mesh file of ``kind`` with the same triangles that the parser takes, and notes on what it leaves out.

    Raises
    ------
    InputError
        If an OBJ file counts corners from the end that are not there, or as :func:`~coinr.signals.shape.ply.plain_ply`.
    """
    short = 0
    if kind == "stl" and (rest := _behind_stl(data)):
        data = data[:-rest]
    elif kind == "obj":
        data = _plain_obj(data) if _ODD_LINES.search(data) else data
        short = len(_SHORT_FACES.findall(data))
    elif kind == "off":
        short = _short_off(data)
    elif kind == "ply":
        data, short = plain_ply(data)
    return data, (f"faces of less than three corners, which are left out: {short}",) if short else ()


def _plain_obj(data: bytes) -> bytes:
    """Return an OBJ file of plain lines, faces having places of their corners alone."""
    lines, count = [], 0
    for line in re.sub(rb"\\\r?\n", b" ", data).splitlines():
        kind, *words = line.partition(b"#")[0].split() or [b""]
        count += kind == b"v"
        if kind == b"f":
            words = [_from_start(word, count) for word in words]
        lines.append(b" ".join((kind, *words)))
    return b"\n".join(lines) + b"\n"


def _from_start(corner: bytes, count: int) -> bytes:
    """Return the place of a corner such as ``-1/2/3``, the vertices so far being ``count``."""
    place = corner.partition(b"/")[0]
    if not place.startswith(b"-"):
        return place
    if not place[1:].isdigit() or not 1 <= int(place[1:]) <= count:
        raise InputError(f"a face has the vertex {corner.decode(errors='replace')!r}, of {count} before it")
    return b"%d" % (count + 1 - int(place[1:]))


def _behind_stl(data: bytes) -> int:
    """Count the bytes behind the last triangle of a binary STL file; 0 of one of text, whose count would be huge."""
    if len(data) < 84:
        return 0
    return max(0, len(data) - 84 - 50 * int(struct.unpack_from("<I", data, 80)[0]))


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
    expected = sum(int(count) for count in re.findall(rb"^element\s+\S+\s+(\d+)", header, re.MULTILINE))
    got = sum(bool(line.strip()) for line in body.splitlines())
    return f"its header tells of {expected} lines, {got} are there" if got < expected else None


def _missing_stl(data: bytes) -> str | None:
    """Say what the end of an STL file lacks."""
    if data.lstrip()[:5].lower() == b"solid" and b"\0" not in data[:512]:
        return None if b"endsolid" in data[-4096:].lower() else "it has no 'endsolid'"
    if len(data) < 84:
        return f"a binary STL has 84 bytes or more, this has {len(data)}, or it is none"
    (count,) = struct.unpack_from("<I", data, 80)
    expected = 84 + 50 * count
    return (
        f"{count} triangles take {expected} bytes, it has {len(data)}, or it is no STL"
        if len(data) < expected
        else None
    )


def _missing_off(data: bytes) -> str | None:
    """Say what the end of an OFF file lacks."""
    vertices, faces, lines = _off_lines(data)
    expected = vertices + faces
    return f"its header tells of {expected} lines, {len(lines)} are there" if len(lines) < expected else None


def _short_off(data: bytes) -> int:
    """Count the faces of an OFF file that have less than three corners."""
    vertices, faces, lines = _off_lines(data)
    return sum(int(line.split()[0]) < 3 for line in lines[vertices : vertices + faces])


def _off_lines(data: bytes) -> tuple[int, int, list[bytes]]:
    """Return numbers of vertices and faces of an OFF file and its lines behind them; none where it has no header."""
    lines = [line.split(b"#")[0].strip() for line in data.splitlines()]
    text = b"\n".join(line for line in lines if line)
    found = re.match(rb"[A-Za-z0-9]*OFF\s+(\d+)\s+(\d+)(\s+\d+)?[ \t]*(\n|$)", text)
    return (int(found[1]), int(found[2]), text[found.end() :].splitlines()) if found else (0, 0, [])


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
    if any(_INSTANCES in node.get("extensions", ()) for node in tree.get("nodes", ())):
        raise InputError(f"it shows a mesh many times by {_INSTANCES}, which is not read; export each as a node")
    parts = [part for mesh in tree.get("meshes", ()) for part in mesh.get("primitives", ())]
    for part in parts:
        _check_accessors(part, tree.get("accessors", ()))
    modes = [part.get("mode", 4) for part in parts]
    if others := sorted({mode for mode in modes if mode not in (*_TRIANGLES, *_NO_SURFACE)}):
        raise InputError(f"it has primitives of mode {others[0]}, which are not read; export it as triangles")
    left = [name for name in ("skins", "animations") if tree.get(name)]
    left += ["points and lines"] if any(mode in _NO_SURFACE for mode in modes) else []
    left += ["morph targets"] if any(part.get("targets") for part in parts) else []
    left += ["other scenes"] if len(tree.get("scenes", ())) > 1 else []
    return (f"{', '.join(left)} in it are not used",) if left else ()


def _check_accessors(part: dict[str, Any], accessors: list[dict[str, Any]]) -> None:
    """Raise InputError if a primitive of a glTF file has corners or triangles that are not stored as plain arrays."""
    for index in (part.get("attributes", {}).get("POSITION"), part.get("indices")):
        accessor = accessors[index] if index is not None else {"bufferView": 0}
        if "sparse" in accessor:
            raise InputError("its geometry is in sparse accessors, which are not read; export it without")
        if "bufferView" not in accessor:
            needed = ", ".join(part.get("extensions", ())) or "more than it has"
            raise InputError(f"its geometry needs {needed}, which is not read; export it without")
