"""Searches that are killed, starved, fed rubbish and shared, and what must hold nevertheless."""
