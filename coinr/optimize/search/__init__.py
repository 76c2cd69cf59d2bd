"""The smallest file for a quality or a size that the caller names."""
