"""The public names of this package and their modules."""
