"""One folder a metric: `score.py` computes it, the file named like the folder offers it to the `evaluate` package.

`evaluate.load("./eval/metrics/bleu")` works offline. That package copies a metric out of its folder before it imports
it, so a metric imports nothing of its neighbours. Our own code imports `score`, which does not wait for `evaluate`.
"""
