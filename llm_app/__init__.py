"""Proofbench: chat, classify, benchmark, tune, and prove that the tuning helped."""

__version__ = "0.1.0"
