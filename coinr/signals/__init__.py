"""Signals: pictures, sounds, shapes and radiance fields."""
