"""What callers pass, checked: arguments, arrays, state dicts, names, callables."""
