"""Fine-tuning: examples become tokens, tokens become steps, steps become an adapter."""
