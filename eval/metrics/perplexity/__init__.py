"""Perplexity of texts, by token, word and byte."""
