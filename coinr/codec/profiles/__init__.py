"""Profiles by name: which coder each tensor gets."""
