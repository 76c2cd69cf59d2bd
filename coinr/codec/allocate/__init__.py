"""Allocation of the error budget: how much error each tensor, and each of its rows, may have."""
