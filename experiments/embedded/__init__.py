"""Clean pre-training recipe of the small masked language model that ships with autoprompt."""
