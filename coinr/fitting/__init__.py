"""Fitting networks to signals."""

from coinr.fitting.new_networks import new_network
from coinr.fitting.run import Fit, fit, fit_many

__all__ = ["Fit", "fit", "fit_many", "new_network"]
