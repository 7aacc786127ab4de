"""Ours beside other engines: one process a side, asked in turn."""
