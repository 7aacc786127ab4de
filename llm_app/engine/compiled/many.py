"""Layers as in `layers.py`, for so many tokens that matrices are unpacked first: prompts."""

from typing import Any

import numba
from numba import carray, cfunc, njit, types

from llm_app.engine.compiled import team
from llm_app.engine.compiled.curves import gated_pairs
from llm_app.engine.compiled.heads import attend, place
from llm_app.engine.compiled.layers import layers_at
from llm_app.engine.compiled.many_heads import attend_together, pack_groups, spread
from llm_app.engine.compiled.numbers import PLAIN, norm, one_over_length
from llm_app.engine.compiled.panels import SUIT, TILE_GROUP, WIDTH, ahead_of, multiply_panel, unpacked
from llm_app.engine.compiled.products import GROUP, STEPS
from llm_app.engine.compiled.records import PASS
from llm_app.engine.compiled.vectors import floats, longs


@njit(**PLAIN)
def _add_line(to: int, read: int) -> None:
    """32 numbers to as many others."""
    numbers, added = carray(floats(to), WIDTH), carray(floats(read), WIDTH)
    for lane in range(WIDTH):
        numbers[lane] += added[lane]


@njit(**PLAIN)
def _prepare(task: Any, weight: int) -> None:
    """The norms of this thread's tokens, as products read them."""
    own = task.own + team.number() * task.own_bytes
    w, made = carray(floats(weight), task.size), carray(floats(own), task.size)
    for token in range(*team.share(task.n_tokens)):
        x = carray(floats(task.states + token * task.size * 4), task.size)
        factor = one_over_length(x, task.eps)
        for i in range(task.size):
            made[i] = x[i] * factor * w[i]
        pack_groups(own, task.size // GROUP, 0, task.size // GROUP, token, task.block, task.normed.pairs)
    team.wait_for_all()


@njit(**PLAIN)
def _own(task: Any) -> int:
    """Where this thread has room for 32 numbers of each token of three blocks, then for two panels."""
    return task.own + team.number() * task.own_bytes


@njit(**PLAIN)
def _room(task: Any) -> int:
    """Where this thread has room for panels."""
    return _own(task) + 3 * task.block * WIDTH * 4


@njit(**PLAIN)
def _reduce(task: Any, matrix: Any, pairs: int) -> None:
    """What an adapter needs of all inputs before it adds, packed for its second product: this thread's blocks."""
    rank, made = matrix.rank, _own(task)
    n_blocks = task.n_padded // task.block if rank > 0 else 0
    for block in range(*team.share(n_blocks)):
        read = pairs + block * task.block * matrix.groups * STEPS * 4
        for panel in range(rank):
            a = matrix.a + panel * 2 * matrix.groups * TILE_GROUP
            multiply_panel(a, matrix.groups, task.block, read, made, WIDTH * 4, made)
            for i in range(task.block):
                pack_groups(made + i * WIDTH * 4, 1, panel, rank, block * task.block + i, task.block, task.small)
    if rank > 0:
        team.wait_for_all()


@njit(**PLAIN)
def _outputs(task: Any, matrix: Any, panel: int, at: int, pairs: int, token: int, out: int, stride: int) -> None:
    """The panel at `at` with the block of tokens from `token` on, its bias, and what an adapter adds.

    32 numbers of a token each `stride` bytes.
    """
    ahead = ahead_of(matrix, panel, token // task.block)
    multiply_panel(at, matrix.groups, task.block, pairs + token * matrix.groups * STEPS * 4, out, stride, ahead)
    if matrix.rank > 0:
        b, added = matrix.b + panel * 2 * matrix.rank * TILE_GROUP, _own(task)
        multiply_panel(b, matrix.rank, task.block, task.small + token * matrix.rank * STEPS * 4, added, WIDTH * 4, b)
        for i in range(task.block):
            _add_line(out + i * stride, added + i * WIDTH * 4)
    if matrix.bias != 0:
        for i in range(task.block):
            _add_line(out + i * stride, matrix.bias + panel * WIDTH * 4)


@njit(**PLAIN)
def _joint(task: Any, matrix: Any) -> None:
    """This thread's panels of queries, keys and values."""
    _reduce(task, matrix, task.normed.pairs)
    room, n_bytes = _room(task), matrix.n_tiles // 2 * WIDTH * 4
    for panel in range(*team.share(matrix.n_tiles // 2)):
        at = unpacked(matrix, panel, room)
        for token in range(0, task.n_padded, task.block):
            out = task.joint + token * n_bytes + panel * WIDTH * 4
            _outputs(task, matrix, panel, at, task.normed.pairs, token, out, n_bytes)
    team.wait_for_all()


@njit(**PLAIN)
def _add(task: Any, matrix: Any) -> None:
    """This thread's panels of a product, to the states."""
    _reduce(task, matrix, task.inner.pairs)
    n_panels, made, room = matrix.n_tiles // 2, _own(task) + task.block * WIDTH * 4, _room(task)
    for panel in range(*team.share(n_panels)):
        at = unpacked(matrix, panel, room)
        for token in range(0, task.n_padded, task.block):
            _outputs(task, matrix, panel, at, task.inner.pairs, token, made, WIDTH * 4)
            for i in range(min(task.block, task.n_tokens - token)):
                _add_line(task.states + ((token + i) * n_panels + panel) * WIDTH * 4, made + i * WIDTH * 4)
    team.wait_for_all()


@njit(**PLAIN)
def _gate(task: Any, matrix: Any) -> None:
    """silu(gate) * up, this thread's groups of it."""
    _reduce(task, matrix, task.normed.pairs)
    n_panels, n_bytes, room = matrix.n_tiles // 4, matrix.groups * 2 * TILE_GROUP, _room(task)
    sides_at = _own(task) + task.block * WIDTH * 4
    for panel in range(*team.share(n_panels)):
        both = unpacked(matrix, panel, room), unpacked(matrix, panel + n_panels, room + n_bytes)
        for token in range(0, task.n_padded, task.block):
            for i in range(2):
                out = sides_at + i * task.block * WIDTH * 4
                _outputs(task, matrix, panel + i * n_panels, both[i], task.normed.pairs, token, out, WIDTH * 4)
            made = task.inner.pairs + (token * n_panels + panel * task.block) * STEPS * 4
            for i in range(task.block):
                gate = sides_at + i * WIDTH * 4
                gated_pairs(gate, gate + task.block * WIDTH * 4, made + i * STEPS * 4)
    team.wait_for_all()


@njit(**PLAIN)
def _only_read(task: Any, n_out: int) -> None:
    """Let the pass go on with the tokens that are read: states, and what their heads have taken, move together."""
    if team.number() == 0:
        groups, block = n_out // GROUP, task.block
        pairs = carray(longs(task.inner.pairs), (task.n_padded // block, groups, block, STEPS // 2))
        states, reads = carray(floats(task.states), (task.n_tokens, task.size)), carray(longs(task.reads), task.n_reads)
        for i in range(task.n_reads):
            token = reads[i]
            if token != i:
                states[i] = states[token]
                for group in range(groups):
                    pairs[i // block, group, i % block] = pairs[token // block, group, token % block]
        task.n_tokens, task.n_padded = task.n_reads, (task.n_reads + block - 1) // block * block
    team.wait_for_all()


def _through_many(tasks: Any) -> None:
    """Layers `first_layer` to `end_layer` of the pass, then the norm if there is one, in place of its `states`.

    The last of all layers goes on with the tokens `reads` alone, which stand first then.
    """
    task = carray(tasks, 1)[0]
    layers = carray(layers_at(task.layers), task.end_layer)
    for number in range(task.first_layer, task.end_layer):
        layer = layers[number]
        keys, values = longs(task.keys + number * 8)[0], longs(task.values + number * 8)[0]
        _prepare(task, layer.before_attention)
        _joint(task, layer.joint)
        for unit in range(*team.share(task.n_tokens * task.n_keys)):
            place(task, layer, keys, values, unit % task.n_tokens, unit // task.n_tokens)
        team.wait_for_all()
        if task.last_norm != 0 and number == task.end_layer - 1 and task.n_reads == 0:
            return  # keys and values were all that was asked for
        if task.n_spread > 0:
            spread(task, layer, keys, values)
            attend_together(task, layer)
        else:
            first, end = team.share(task.n_tokens * task.n_keys)
            for unit in range(first, end):
                attend(task, layer, keys, values, unit, end)
            team.wait_for_all()
        if task.last_norm != 0 and number == task.end_layer - 1 and task.n_reads > 0:
            _only_read(task, task.n_queries * task.head_size)
        _add(task, layer.out)
        _prepare(task, layer.before_gate)
        _gate(task, layer.gated)
        _add(task, layer.down)
    if task.last_norm != 0:
        for token in range(*team.share(task.n_tokens)):
            norm(carray(floats(task.states + token * task.size * 4), task.size), task.last_norm, task.eps)


_KIND = types.void(types.CPointer(numba.from_dtype(PASS)))
through_many: Any = cfunc(_KIND, **PLAIN)(_through_many) if SUIT else None  # other processors have not what it takes
