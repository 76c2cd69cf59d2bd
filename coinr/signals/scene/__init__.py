"""Scenes: the signal, cameras and views, and files of them in and out."""
