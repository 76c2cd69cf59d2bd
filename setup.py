"""Builds the C++ extension; everything else is declared in pyproject.toml."""

import os
from glob import glob

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import setup

# COINR_SANITIZE=address,undefined or =thread builds the extension for the sanitizer runs of the Makefile.
sanitize = os.environ.get("COINR_SANITIZE")
flags = ["-O3", "-fno-fast-math", "-ffp-contract=off", "-Wall", "-Wextra", "-pthread"]
links = ["-pthread"]
if sanitize:
    flags += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", "-g", "-O1"]
    links += [f"-fsanitize={sanitize}"]

ParallelCompile("COINR_BUILD_JOBS", default=2).install()

setup(
    ext_modules=[
        Pybind11Extension(
            "coinr.engine._C",
            sorted(glob("csrc/*/*.cpp")),
            depends=sorted(glob("csrc/*/*.hpp") + glob("csrc/*/*.inc")),
            include_dirs=["csrc"],
            cxx_std=17,
            extra_compile_args=flags,
            extra_link_args=links,
        )
    ]
)
