"""Diversity and repetition of generated text."""
