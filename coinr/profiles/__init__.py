"""Profiles by name: which coder each tensor gets."""

from __future__ import annotations

from coinr.profiles.base import Coded, Settings, cost
from coinr.profiles.relative import encode_relative
from coinr.profiles.tasks import PROFILES, Task, encode, plan

__all__ = ["PROFILES", "Coded", "Settings", "Task", "cost", "encode", "encode_relative", "plan"]
