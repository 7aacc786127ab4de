"""Span F1 of named entities."""
