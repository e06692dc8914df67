"""Prompt-based fine-tuning: the model is trained through a prompt."""
