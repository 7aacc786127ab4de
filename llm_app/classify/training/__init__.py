"""Training a classifier: split, loop, baselines, temperature."""
