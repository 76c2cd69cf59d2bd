"""Files on disk: read by their content, written in one step; weights in the formats of others."""

import lazy_loader

# State dicts need torch, which other files do not: they are imported when they are asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
