"""Profiles: which coders are tried for each tensor, and which one is chosen."""
