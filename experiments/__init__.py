"""Measurements: nothing of this is part of the installed package."""
