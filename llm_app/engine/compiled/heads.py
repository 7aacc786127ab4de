"""Attention of one token's queries that share a key head, behind the keys and values of its row."""

from typing import Any

import numpy as np
from numba import carray, njit

from llm_app.engine.compiled import team
from llm_app.engine.compiled.lanes import GROUP, floats, longs, shorts
from llm_app.engine.compiled.numbers import FAST, exp, norm, rounded, wide
from llm_app.engine.compiled.tiles import pack


@njit(**FAST)
def _turn(x: Any, cos: int, sin: int) -> None:
    """Rotate a head in place."""
    half = len(x) // 2
    c, s = carray(floats(cos), half), carray(floats(sin), half)
    for i in range(half):
        low, high = x[i], x[i + half]
        x[i] = low * c[i] - high * s[i]
        x[i + half] = high * c[i] + low * s[i]


@njit(**FAST)
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


@njit(**FAST)
def attend(task: Any, layer: Any, keys_at: int, values_at: int, token: int, head: int) -> None:
    """What a key head's queries take from the values, in float32, as the next product reads it."""
    size, n_shared = task.head_size, task.n_queries // task.n_keys
    row, position = carray(longs(task.rows), task.n_tokens)[token], carray(longs(task.positions), task.n_tokens)[token]
    first = max(0, position + 1 - layer.window)
    n, place = position + 1 - first, (row * task.row_stride + head * task.head_stride + first * size) * 2
    keys, values = carray(shorts(keys_at + place), (n, size)), carray(shorts(values_at + place), (n, size))
    joint = task.joint + token * (task.n_queries + 2 * task.n_keys) * size * 4
    n_out = task.n_queries * size
    plain = carray(floats(task.inner.plain + token * n_out * 4), n_out)
    for i in range(n_shared):
        query = carray(floats(joint + (head * n_shared + i) * size * 4), size)
        out = plain[(head * n_shared + i) * size : (head * n_shared + i + 1) * size]
        scores = carray(floats(task.scores + team.number() * task.n_scores * 4), n)
        _weigh(query, keys, scores, task.scale)
        _take(scores, values, out)
    per_head = n_shared * size // GROUP
    pack(plain, head * per_head, (head + 1) * per_head, token, task.block, task.inner)


@njit(**FAST)
def _weigh(query: Any, keys: Any, scores: Any, scale: float) -> None:
    """The softmax of how much a query is like each key."""
    most = np.float32(-np.inf)
    for i in range(len(scores)):
        total = np.float32(0)
        for j in range(len(query)):
            total += query[j] * wide(keys[i, j])
        scores[i] = total * scale
        most = max(most, scores[i])
    total = np.float32(0)
    for i in range(len(scores)):
        scores[i] = exp(scores[i] - most)
        total += scores[i]
    factor = np.float32(1) / total
    for i in range(len(scores)):
        scores[i] *= factor


@njit(**FAST)
def _take(weights: Any, values: Any, out: Any) -> None:
    """The sum of values by weight, four at a time so that `out` is read and written less often."""
    n = len(weights)
    for j in range(len(out)):
        out[j] = np.float32(0)
    for i in range(0, n - 3, 4):
        a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for j in range(len(out)):
            out[j] += (a * wide(values[i, j]) + b * wide(values[i + 1, j])) + (
                c * wide(values[i + 2, j]) + d * wide(values[i + 3, j])
            )
    for i in range(n // 4 * 4, n):
        for j in range(len(out)):
            out[j] += weights[i] * wide(values[i, j])
