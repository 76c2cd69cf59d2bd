"""What aims at a size or a quality: search, refinement, and the choice of everything."""
