"""Prompts for other programs: one file a format, each tested against the program that reads it."""
