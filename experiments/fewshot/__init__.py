"""What each ingredient of a search is worth on few-shot tasks, and each neighbour's recipe."""
