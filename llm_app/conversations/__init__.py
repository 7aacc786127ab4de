"""Conversations that are kept: a tree of turns each, in a file each, or in the visitor's browser."""
