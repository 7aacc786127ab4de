"""What compiled functions are told: records of numbers and addresses, of 64 bits each but for two."""

import numpy as np

# What products read, of all tokens: the numbers in float32, then as `pack` puts them.
INPUT = np.dtype([("plain", "i8"), ("pairs", "i8"), ("sums", "i8")])
# A product with a matrix: `n_tokens` of `read`, which `blocks_for` makes `n_padded` in blocks, to `out` in float32; or
# of many tokens, for which each thread has `own_bytes` of its own, to bfloat16.
TASK = np.dtype([
    *((name, "i8") for name in (
        "tiles", "n_bits", "groups", "n_tiles", "out", "n_tokens", "n_padded", "block", "own", "own_bytes"
    )),
    ("read", INPUT),
])  # fmt: skip
# A matrix, its bias in float32 or 0, and what an adapter adds to its product: x @ a.T @ b, `a` (rank, in), or rank 0.
# `b` has, tile after tile, those rows that are not 0, sixteen numbers each; `spans` (tiles, 3) the first of a tile's
# rows, the one behind its last, and how many rows of other tiles stand before. For many tokens both are tiles in
# bfloat16, (rank, in) and (out, rank), `rank` counts panels of 32, and there are no spans.
MATRIX = np.dtype([
    (name, "i8") for name in ("tiles", "n_bits", "n_tiles", "groups", "bias", "a", "b", "rank", "spans")
])  # fmt: skip
# Of a layer, addresses of norms in float32, those of heads or 0; how many positions a token sees, itself included.
LAYER = np.dtype([
    ("before_attention", "i8"), ("before_gate", "i8"), ("of_queries", "i8"), ("of_keys", "i8"), ("window", "i8"),
    ("joint", MATRIX), ("out", MATRIX), ("gated", MATRIX), ("down", MATRIX),
])  # fmt: skip
# A pass. Addresses: `layers`; of each layer those of `keys` and `values` (rows, heads, positions, head size), and two
# strides of these; `states` (tokens, size), `cos` and `sin` (tokens, head size / 2) of float32; each token's place in
# `rows` and `positions`; and room for what is computed on the way: what norms give and what stands behind
# them, `joint` queries, keys and values, `small` what an adapter's first half gives, and of each thread `own_bytes` of
# its own and `n_scores` scores of three queries. Of many tokens also `read_keys` and `read_values`, as products read
# them, of each row and head for `n_spread` positions; `reads`, rising, the tokens with which the last layer goes on
# from its attention, all where `n_reads` is -1; and `sees` (tokens, 3, 3), 0 for tokens that see what stands before
# them: of three stretches of keys the first, that behind the last, and how far before the token the first one stands.
PASS = np.dtype([
    *((name, "i8") for name in (
        "layers", "first_layer", "end_layer", "last_norm", "keys", "values", "row_stride", "head_stride", "states",
        "cos", "sin", "rows", "positions", "joint", "own", "own_bytes", "small", "scores", "n_scores", "n_tokens",
        "n_padded", "block", "n_new", "size", "n_queries", "n_keys", "head_size", "read_keys", "read_values",
        "n_spread", "reads", "n_reads", "sees",
    )),
    ("normed", INPUT), ("inner", INPUT), ("eps", "f4"), ("scale", "f4"),
])  # fmt: skip
