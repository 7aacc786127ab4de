"""BLEU of translations."""
