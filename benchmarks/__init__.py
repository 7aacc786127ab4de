"""Speed, side by side with the peers: every figure is a ratio of two measurements of one run."""
