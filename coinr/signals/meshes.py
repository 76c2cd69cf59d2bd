"""Meshes by one name for callers: files in and out, and the surface of a volume (:mod:`coinr.signals.shape.meshes`)."""

from coinr.signals.shape.meshes import MESH_SUFFIXES, read_mesh, surface, write_mesh

__all__ = ["MESH_SUFFIXES", "read_mesh", "surface", "write_mesh"]
