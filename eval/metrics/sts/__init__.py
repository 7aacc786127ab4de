"""Correlation of graded similarity."""
