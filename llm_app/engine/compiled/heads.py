"""Attention of one token's queries that share a key head, behind the keys and values of its row."""

from typing import Any

import numpy as np
from numba import carray, njit

from llm_app.engine.compiled import team
from llm_app.engine.compiled.curves import softened
from llm_app.engine.compiled.keys import AT_ONCE, KEYS, MOST_QUERIES, likenesses, taken
from llm_app.engine.compiled.numbers import PLAIN, norm, product_with, rounded, wide
from llm_app.engine.compiled.products import GROUP
from llm_app.engine.compiled.tiles import pack
from llm_app.engine.compiled.vectors import LANES, floats, longs, shorts


@njit(**PLAIN)
def _turn(x: Any, cos: int, sin: int) -> None:
    """Rotate a head in place."""
    half = len(x) // 2
    c, s = carray(floats(cos), half), carray(floats(sin), half)
    for i in range(half):
        low, high = x[i], x[i + half]
        x[i] = low * c[i] - high * s[i]
        x[i + half] = high * c[i] + low * s[i]


@njit(**PLAIN)
def place(task: Any, layer: Any, keys_at: int, values_at: int, token: int, head: int) -> None:
    """Norms and rotation of a key and its queries; key and value to where they are kept."""
    size, n_shared = task.head_size, task.n_queries // task.n_keys
    joint = task.joint + token * (task.n_queries + 2 * task.n_keys) * size * 4
    cos, sin = task.cos + token * size * 2, task.sin + token * size * 2
    for i in range(n_shared):
        query = carray(floats(joint + (head * n_shared + i) * size * 4), size)
        if layer.of_queries != 0:
            norm(query, layer.of_queries, task.eps)
        _turn(query, cos, sin)
    key = carray(floats(joint + (task.n_queries + head) * size * 4), size)
    value = carray(floats(joint + (task.n_queries + task.n_keys + head) * size * 4), size)
    if layer.of_keys != 0:
        norm(key, layer.of_keys, task.eps)
    _turn(key, cos, sin)
    row, position = carray(longs(task.rows), task.n_tokens)[token], carray(longs(task.positions), task.n_tokens)[token]
    place = (row * task.row_stride + head * task.head_stride + position * size) * 2
    keys, values = carray(shorts(keys_at + place), size), carray(shorts(values_at + place), size)
    for i in range(size):
        keys[i] = rounded(key[i]) >> np.uint32(16)
        values[i] = rounded(value[i]) >> np.uint32(16)


@njit(**PLAIN)
def _seen(task: Any, layer: Any, token: int, head: int) -> tuple[int, int]:
    """Where the keys and values that a token sees begin, in bytes behind the first of all, and how many they are."""
    row, position = carray(longs(task.rows), task.n_tokens)[token], carray(longs(task.positions), task.n_tokens)[token]
    first = max(0, position + 1 - layer.window)
    place = row * task.row_stride + head * task.head_stride + first * task.head_size
    return place * 2, position + 1 - first


@njit(**PLAIN)
def attend(task: Any, layer: Any, keys: int, values: int, unit: int, end: int) -> None:
    """What a key head's queries take from the values, in float32, as the next product reads it.

    A unit is a token and a key head, head by head; this thread goes on with those up to `end`.
    """
    token, head, following = unit % task.n_tokens, unit // task.n_tokens, min(unit + 1, end - 1)
    (place, n), (ahead, _) = (
        _seen(task, layer, token, head),
        _seen(task, layer, following % task.n_tokens, following // task.n_tokens),
    )
    size, n_shared = task.head_size, task.n_queries // task.n_keys
    joint, n_out = task.joint + token * (task.n_queries + 2 * task.n_keys) * size * 4, task.n_queries * size
    scores, out = task.scores + team.number() * MOST_QUERIES * task.n_scores * 4, task.inner.plain + token * n_out * 4
    for query in range(head * n_shared, (head + 1) * n_shared, MOST_QUERIES):
        n_queries = min(MOST_QUERIES, (head + 1) * n_shared - query)
        _compare(task, joint + query * size * 4, n_queries, keys + place, n, scores, values + place)
        _take(task, scores, n_queries, values + place, n, out + query * size * 4, keys + ahead)
    per_head = n_shared * size // GROUP
    pack(carray(floats(out), n_out), head * per_head, (head + 1) * per_head, token, task.block, task.inner)


@njit(**PLAIN)
def _compare(task: Any, queries: int, n_queries: int, keys: int, n: int, scores: int, ahead: int) -> None:
    """How much queries are like each key; room behind the last one, up to a whole vector, becomes -inf."""
    size, stride = task.head_size, task.n_scores * 4
    for i in range(n_queries):
        carray(floats(scores + i * stride), n + LANES)[n:] = np.float32(-np.inf)
    for i in range(0, n - KEYS + 1, KEYS):
        place = i * size * 2
        likenesses(n_queries, queries, keys + place, size // LANES, scores + i * 4, stride, ahead + place)
    for i in range(n // KEYS * KEYS, n):
        key = carray(shorts(keys + i * size * 2), size)
        for query in range(n_queries):
            found = carray(floats(scores + query * stride), n)
            found[i] = product_with(carray(floats(queries + query * size * 4), size), key)


@njit(**PLAIN)
def _take(task: Any, scores: int, n_queries: int, values: int, n: int, out: int, ahead: int) -> None:
    """The sums of values by the softmax of scores, which this takes the place of."""
    size, stride = task.head_size, task.n_scores * 4
    for i in range(n_queries):
        to = carray(floats(out + i * size * 4), size)
        to[size // (AT_ONCE * LANES) * AT_ONCE * LANES :] = np.float32(0)
        factor = np.float32(1) / softened(scores + i * stride, (n + LANES - 1) // LANES, task.scale)
        weights = carray(floats(scores + i * stride), n)
        for j in range(n):
            weights[j] *= factor
    for j in range(0, size - AT_ONCE * LANES + 1, AT_ONCE * LANES):
        taken(n_queries, scores, stride, values + j * 2, n, size, out + j * 4, ahead + j * 2)
    rest = size // (AT_ONCE * LANES) * AT_ONCE * LANES
    for i in range(n_queries if rest < size else 0):
        to, weights = carray(floats(out + i * size * 4), size), carray(floats(scores + i * stride), n)
        for k in range(n):
            value = carray(shorts(values + k * size * 2), size)
            for j in range(rest, size):
                to[j] += weights[k] * wide(value[j])
