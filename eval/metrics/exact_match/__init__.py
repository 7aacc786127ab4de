"""Exact match and word F1 of short answers."""
