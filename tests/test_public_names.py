"""What ``dir`` shows of the package."""

import importlib

import coinr


def test_dir_shows_public_names_alone():
    importlib.import_module("coinr.signals.image.files")  # submodules and imports of the package stay out
    assert dir(coinr) == sorted(coinr.__all__)
    assert all(getattr(coinr, name) is not None for name in dir(coinr))
