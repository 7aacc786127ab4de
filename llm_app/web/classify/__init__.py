"""The Classify tab: one text, a table, a training, and what came of them."""
