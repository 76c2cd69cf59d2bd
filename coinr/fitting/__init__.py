"""Fitting networks to signals."""

from coinr.fitting.run import Fit, fit, fit_many, new_network

__all__ = ["Fit", "fit", "fit_many", "new_network"]
