"""Classifiers: zero-shot by likelihood, trained encoders, LoRA heads and the baselines they have to beat."""
