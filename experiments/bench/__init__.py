"""Claims of speed, each measured against a naive loop in one run, as a ratio."""
