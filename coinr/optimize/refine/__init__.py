"""Refinement through the code: weights trained for how they will be coded, and coded so."""

from __future__ import annotations

from coinr.optimize.refine.run import Refined, refine

__all__ = ["Refined", "refine"]
