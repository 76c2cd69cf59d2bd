"""Quantization: the integers of a matrix with the fewest bits within a distortion limit."""
