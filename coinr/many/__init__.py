"""Many things: files coded on all cores or on a cluster, and sets of networks in one file."""

import lazy_loader

# Only __init__.pyi lists the names; they load on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
