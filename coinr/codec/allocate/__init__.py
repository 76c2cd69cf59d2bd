"""How much error each tensor and each of its rows may have."""
