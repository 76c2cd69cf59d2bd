"""Coordinate networks that coinr can fit, store and rebuild by itself."""

import lazy_loader

# Networks are modules of torch; their families and what evaluates arrays need none of it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
