"""Triton kernels: dictionary words, correlation with argmax, least squares and synthesis."""
