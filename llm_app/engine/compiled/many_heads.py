"""Attention of many new tokens: twelve queries at once, in bfloat16, their scores and softmax in float32.

All queries of a row's tokens that share a key head stand in one line. Twelve of them read the panels of keys that any
of them sees; what a query does not see is masked. A token sees up to three stretches of its row's keys: one, up to
itself, in a text; in a tree what all trees share, the trunk of its own, and its branch up to itself.
"""

from typing import Any

import numpy as np
from numba import carray, njit

from llm_app.engine.compiled import team
from llm_app.engine.compiled.curves import (
    BLOCK_BYTES,
    exponentials_of_all,
    exponentials_of_text,
    exponentials_of_tree,
    peak_of_all,
    peak_of_text,
    peak_of_tree,
)
from llm_app.engine.compiled.numbers import PLAIN
from llm_app.engine.compiled.panels import BLOCKS, TILE_GROUP, WIDTH, multiply_listed, multiply_panel, packed
from llm_app.engine.compiled.products import GROUP, STEPS
from llm_app.engine.compiled.vectors import LANES, floats, ints, longs, shorts

QUERIES = BLOCKS[0]  # at once
STRETCHES = 3


@njit(**PLAIN)
def bytes_of_queries(size: int, n_spread: int) -> int:
    """What a thread needs of its own to attend: queries and what they take, scores and weights, and what is seen."""
    return QUERIES * (size * (2 + 4) + n_spread * (4 + 2) + 2 * STRETCHES * 8) + n_spread // WIDTH * 8 + 64


@njit(**PLAIN)
def _start(task: Any, row: int) -> int:
    """Tokens that a row of the pass holds already."""
    return carray(longs(task.positions), task.n_tokens)[row * task.n_new]


@njit(**PLAIN)
def _look(task: Any, layer: Any, token: int, seen: Any) -> None:
    """The stretches of keys that a token sees: the first of each and that behind its last."""
    if task.sees == 0:
        end = carray(longs(task.positions), task.n_tokens)[token] + 1
        seen[0, 0], seen[0, 1] = max(0, end - layer.window), end
        for i in range(1, STRETCHES):
            seen[i, 0], seen[i, 1] = 0, 0
        return
    # The first key of each stretch, that behind its last, and how far before the token the first one stands.
    stretches = carray(longs(task.sees), (task.n_tokens, STRETCHES, 3))[token]
    for i in range(STRETCHES):
        seen[i, 0] = stretches[i, 0] + max(0, stretches[i, 2] + 1 - layer.window)
        seen[i, 1] = stretches[i, 1]


@njit(**PLAIN)
def _spread_keys(keys: int, n: int, size: int, to: int) -> None:
    """Up to sixteen keys as a tile."""
    numbers = carray(shorts(keys), (n, size // GROUP, 2, STEPS))
    tile = carray(ints(to), (size // GROUP, STEPS, LANES))
    for group in range(size // GROUP):
        for step in range(STEPS):
            for i in range(n):
                low, high = np.uint32(numbers[i, group, 0, step]), np.uint32(numbers[i, group, 1, step])
                tile[group, step, i] = low | high << np.uint32(16)
            for i in range(n, LANES):
                tile[group, step, i] = 0


@njit(**PLAIN)
def _spread_values(values: int, n: int, size: int, to: int, n_groups: int) -> None:
    """Up to 32 values as a group of each tile of their numbers."""
    numbers = carray(shorts(values), (n, size))
    for tile in range(size // LANES):
        group = carray(ints(to + tile * n_groups * TILE_GROUP), (STEPS, LANES))
        for step in range(STEPS):
            for i in range(LANES):
                low = np.uint32(numbers[step, tile * LANES + i]) if step < n else np.uint32(0)
                high = np.uint32(numbers[STEPS + step, tile * LANES + i]) if STEPS + step < n else np.uint32(0)
                group[step, i] = low | high << np.uint32(16)


@njit(**PLAIN)
def spread(task: Any, layer: Any, keys_at: int, values_at: int) -> None:
    """All keys and values that the rows of the pass see, in the order in which products read them."""
    size, n_groups = task.head_size, task.n_spread // WIDTH
    n_rows, bytes_of_one = task.n_tokens // task.n_new, task.n_spread * size * 2
    rows = carray(longs(task.rows), task.n_tokens)
    for unit in range(*team.share(n_rows * task.n_keys * n_groups)):
        pair, group = unit // n_groups, unit % n_groups
        row, head = pair // task.n_keys, pair % task.n_keys
        start = _start(task, row)
        n = start + task.n_new - group * WIDTH
        if n > 0 and (task.sees != 0 or (group + 1) * WIDTH > start + 1 - layer.window):
            place = 2 * (rows[row * task.n_new] * task.row_stride + head * task.head_stride + group * WIDTH * size)
            for half in range(2):
                place_of_half, to = place + half * LANES * size * 2, (2 * group + half) * LANES * size * 2
                n_keys = min(LANES, max(0, n - half * LANES))
                _spread_keys(keys_at + place_of_half, n_keys, size, task.read_keys + pair * bytes_of_one + to)
            to = task.read_values + pair * bytes_of_one + group * TILE_GROUP
            _spread_values(values_at + place, min(WIDTH, n), size, to, n_groups)
    team.wait_for_all()


@njit(**PLAIN)
def _panels(seen: Any, panels: Any) -> int:
    """The panels of keys of which one of some queries sees any, in order; how many there are."""
    panels[:] = 0
    for i in range(len(seen)):
        for j in range(STRETCHES):
            if seen[i, j, 0] < seen[i, j, 1]:
                panels[seen[i, j, 0] // WIDTH : (seen[i, j, 1] - 1) // WIDTH + 1] = 1
    n = 0
    for panel in range(len(panels)):
        if panels[panel]:
            panels[n] = panel
            n += 1
    return n


@njit(**PLAIN)
def _soften(task: Any, seen: int, scores: int, n_panels: int, panels: int, to: int) -> Any:
    """Of a query's scores in some panels exp(score - the largest) to `to`, packed for the next product; their sum.

    Of the first stretch of keys that it sees, whole panels are taken as they are: their keys need not be looked at.
    """
    first, (begin, end) = longs(panels)[0] * WIDTH, (longs(seen)[0], longs(seen)[1])
    n_whole = max(0, end - first) // WIDTH if begin <= first else 0
    most, total = np.float32(-np.inf), np.float32(0)
    if n_whole > 0:
        most = max(most, peak_of_all(scores, n_whole, panels, seen))
    rest, n_rest, places = scores + n_whole * WIDTH * 4, n_panels - n_whole, panels + n_whole * 8
    if n_rest > 0:
        peak = peak_of_tree(rest, n_rest, places, seen) if task.sees else peak_of_text(rest, n_rest, places, seen)
        most = max(most, peak)
    if n_whole > 0:
        total += exponentials_of_all(scores, n_whole, panels, seen, task.scale, most, to)
    to += n_whole * BLOCK_BYTES
    if n_rest > 0 and task.sees == 0:
        total += exponentials_of_text(rest, n_rest, places, seen, task.scale, most, to)
    elif n_rest > 0:
        total += exponentials_of_tree(rest, n_rest, places, seen, task.scale, most, to)
    return total


@njit(**PLAIN)
def _attend(task: Any, layer: Any, row: int, head: int, first: int, own: int) -> None:
    """What twelve queries of a row and key head, from the `first` on, take: as the next product reads it."""
    size, n_shared, n_groups = task.head_size, task.n_queries // task.n_keys, task.n_spread // WIDTH
    last, taken = task.n_new * n_shared - 1, own + QUERIES * size * 2
    seen_at = taken + QUERIES * size * 4
    panels_at = seen_at + QUERIES * STRETCHES * 2 * 8
    scores_at = (panels_at + n_groups * 8 + 63) // 64 * 64
    weights_at = scores_at + QUERIES * task.n_spread * 4
    seen, panels = carray(longs(seen_at), (QUERIES, STRETCHES, 2)), carray(longs(panels_at), n_groups)
    joint = task.joint + head * n_shared * size * 4
    for i in range(QUERIES):
        token, query = row * task.n_new + min(first + i, last) // n_shared, min(first + i, last) % n_shared
        _look(task, layer, token, seen[i])
        x = joint + (token * (task.n_queries + 2 * task.n_keys) + query) * size * 4
        for group in range(size // GROUP):
            at = x + group * GROUP * 4
            packed(at, at + STEPS * 4, own + (group * QUERIES + i) * STEPS * 4)
    n_panels = _panels(seen, panels)
    read = (row * task.n_keys + head) * task.n_spread * size * 2
    for i in range(n_panels):
        keys = task.read_keys + read + panels[i] * WIDTH * size * 2
        multiply_panel(keys, size // GROUP, QUERIES, own, scores_at + i * WIDTH * 4, n_panels * WIDTH * 4, own)
    sums = carray(floats(own), QUERIES)  # in place of the queries
    for i in range(QUERIES):
        at, bounds = scores_at + i * n_panels * WIDTH * 4, seen_at + i * STRETCHES * 2 * 8
        sums[i] = _soften(task, bounds, at, n_panels, panels_at, weights_at + i * STEPS * 4)
    for panel in range(size // WIDTH):
        values, out = task.read_values + read + 2 * panel * n_groups * TILE_GROUP, taken + panel * WIDTH * 4
        multiply_listed(values, n_panels, weights_at, out, size * 4, panels_at, n_groups)
    for i in range(min(QUERIES, last + 1 - first)):
        line, factor = carray(floats(taken + i * size * 4), size), np.float32(1) / sums[i]
        for j in range(size):
            line[j] *= factor
        token, query = row * task.n_new + (first + i) // n_shared, head * n_shared + (first + i) % n_shared
        groups = task.n_queries * size // GROUP
        at, place = taken + i * size * 4, query * size // GROUP
        pack_groups(at, size // GROUP, place, groups, token, task.block, task.inner.pairs)


@njit(**PLAIN)
def pack_groups(x: int, n: int, first: int, groups: int, token: int, block: int, pairs: int) -> None:
    """The `n` groups of numbers at `x`, a token's from its group `first` on, to where and how products read them."""
    start = (token // block * groups + first) * block + token % block
    for group in range(n):
        packed(x + group * GROUP * 4, x + (group * GROUP + STEPS) * 4, pairs + (start + group * block) * STEPS * 4)


@njit(**PLAIN)
def attend_together(task: Any, layer: Any) -> None:
    """All queries of the pass, this thread's share: by turns, since later tokens see more keys."""
    n_rows, n_shared = task.n_tokens // task.n_new, task.n_queries // task.n_keys
    n_blocks = (task.n_new * n_shared + QUERIES - 1) // QUERIES
    own = task.own + team.number() * task.own_bytes
    for unit in range(team.number(), n_rows * task.n_keys * n_blocks, team.size()):
        pair, block = unit // n_blocks, unit % n_blocks
        _attend(task, layer, pair // task.n_keys, pair % task.n_keys, block * QUERIES, own)
    team.wait_for_all()
