"""Shapes: the signal, volumes and meshes, and files of them in and out."""
