"""coinr: small, bit-exact files for trained implicit neural representations.

blob = coinr.encode_state_dict(sd, seed=0)
sd = coinr.decode_state_dict(blob)
"""

import lazy_loader

__version__ = "0.1.0"

# Only __init__.pyi lists the names. They load on first use: torch takes seconds, which --help need not wait for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
