"""Learned starts: networks from which fits of a kind of signals get further in few steps."""

from coinr.meta.api import learn_start

__all__ = ["learn_start"]
