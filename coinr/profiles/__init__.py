"""Profiles by name: which coder each tensor gets."""

from __future__ import annotations

from coinr.profiles.allocation import rule_errors
from coinr.profiles.base import Coded, Settings, cost
from coinr.profiles.relative import encode_relative
from coinr.profiles.tasks import HEEDING, PROFILES, Task, encode, least_work, lossy_sources, plan

__all__ = [
    "HEEDING",
    "PROFILES",
    "Coded",
    "Settings",
    "Task",
    "cost",
    "encode",
    "encode_relative",
    "least_work",
    "lossy_sources",
    "plan",
    "rule_errors",
]
