"""Compression of a signal to a given size or quality, with everything else chosen."""

from coinr.optimize.compress.run import Compressed, Step, compress

__all__ = ["Compressed", "Step", "compress"]
