"""Refinement: training weights for their quantization, then encoding them."""

from __future__ import annotations

from coinr.optimize.refine.run import Refined, refine

__all__ = ["Refined", "refine"]
