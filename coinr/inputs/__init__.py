"""Checks of what callers pass: arguments, arrays, state dicts, names, callables."""
