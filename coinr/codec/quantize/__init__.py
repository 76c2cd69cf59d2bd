"""From a matrix to integers whose error stays within a limit, at the fewest bits."""
