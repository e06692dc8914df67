"""Labelled examples: what they are, how they are read, how they are split."""
