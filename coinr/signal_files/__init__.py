"""Signals in coinr files: a network, and the few numbers that say how to sample it."""
