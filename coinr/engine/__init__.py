"""The engine: seeded dictionaries and pursuits in them, on every backend. The package itself imports no torch."""
