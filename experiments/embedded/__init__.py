"""Clean pre-training recipe of the two small language models that ship with autoprompt."""
