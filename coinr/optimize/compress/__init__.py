"""Signals into files of a size or of a quality that is named, everything else chosen."""

from coinr.optimize.compress.run import Compressed, Step, compress

__all__ = ["Compressed", "Step", "compress"]
