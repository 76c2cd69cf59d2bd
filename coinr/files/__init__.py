"""Files on disk: read by their content, written in one step; weights in the formats of others."""
