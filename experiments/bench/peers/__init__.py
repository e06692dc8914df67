"""Adapters to other projects: each runs one as it is, in an environment that has it.

No line of theirs is here. Where a project was written for an older transformers, names that have
moved are put back in memory before it is imported (`moved`); its files are not touched.
"""
