"""coinr: small, bit-exact files for trained implicit neural representations."""
