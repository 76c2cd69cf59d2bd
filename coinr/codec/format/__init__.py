"""The file format: container, tensor table, metadata. ``FORMAT.md`` is its specification."""
