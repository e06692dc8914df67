"""Language models: the only floor that touches tokenizers, torch modules and devices."""
