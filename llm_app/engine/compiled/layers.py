"""Some layers of a Llama-like model for some tokens, each behind keys and values of its own row, as one function.

A token of a chat is a thousand operations of some microseconds, and each costs as much again to be called. Here the
threads of a team go through the layers together and wait for each other where one needs what others computed:
the norm of each token; queries, keys and values; attention of each token's heads; and so on.
"""

from typing import Any

import numba
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic

from llm_app.engine.compiled import team
from llm_app.engine.compiled.curves import gated
from llm_app.engine.compiled.heads import attend, place
from llm_app.engine.compiled.numbers import PLAIN, norm, one_over_length, product
from llm_app.engine.compiled.products import GROUP, group_bytes
from llm_app.engine.compiled.records import LAYER, PASS
from llm_app.engine.compiled.tiles import multiply, pack
from llm_app.engine.compiled.vectors import LANES, floats, longs, pointer

_LAYER = numba.from_dtype(LAYER)


@intrinsic
def layers_at(_typing: Any, _address: Any) -> Any:
    """The address as that of layers."""
    return types.CPointer(_LAYER)(types.intp), pointer


@njit(**PLAIN)
def _prepare(task: Any, weight: int) -> None:
    """The norms of all tokens, as products read them: this thread's groups, since tokens stand side by side there."""
    groups = task.size // GROUP
    first, end = team.share(groups)
    w = carray(floats(weight), task.size)
    for token in range(task.n_tokens):
        x = carray(floats(task.states + token * task.size * 4), task.size)
        plain = carray(floats(task.normed.plain + token * task.size * 4), task.size)
        factor = one_over_length(x, task.eps)
        for i in range(first * GROUP, end * GROUP):
            plain[i] = x[i] * factor * w[i]
        pack(plain, first, end, token, task.block, task.normed)
    team.wait_for_all()


@njit(**PLAIN)
def _reduce(task: Any, matrix: Any, plain: int) -> None:
    """What an adapter needs of all inputs before it adds: this thread's share of the ranks, of each token."""
    n_in, rank = matrix.groups * GROUP, matrix.rank
    if rank == 0:
        return
    small = carray(floats(task.small), (task.n_tokens, rank))
    first, end = team.share(rank)
    for i in range(first, end):
        a = carray(floats(matrix.a + i * n_in * 4), n_in)
        for token in range(task.n_tokens):
            small[token, i] = product(a, carray(floats(plain + token * n_in * 4), n_in))
    team.wait_for_all()


@njit(**PLAIN)
def _outputs(task: Any, matrix: Any, read: Any, tile: int, out: int, stride: int) -> None:
    """A tile of outputs for all tokens, with bias and what an adapter adds: token i's at `out` + i * `stride` bytes."""
    groups, n_bits = matrix.groups, matrix.n_bits
    start = matrix.tiles + tile * groups * group_bytes(n_bits)
    multiply(start, n_bits, groups, task.block, task.n_padded, read, out, stride)
    if matrix.bias != 0:
        bias = carray(floats(matrix.bias + tile * LANES * 4), LANES)
        for token in range(task.n_tokens):
            biased = carray(floats(out + token * stride), LANES)
            for lane in range(LANES):
                biased[lane] += bias[lane]
    if matrix.rank > 0:
        small = carray(floats(task.small), (task.n_tokens, matrix.rank))
        first, end, start = carray(longs(matrix.spans), (matrix.n_tiles, 3))[tile]
        b = carray(floats(matrix.b + start * LANES * 4), (end - first, LANES))
        for token in range(task.n_tokens):
            added = carray(floats(out + token * stride), LANES)
            for i in range(end - first):
                for lane in range(LANES):
                    added[lane] += small[token, first + i] * b[i, lane]


@njit(**PLAIN)
def _own(task: Any) -> int:
    """Where this thread has room for four tiles of outputs."""
    return task.own + team.number() * task.own_bytes


@njit(**PLAIN)
def _joint(task: Any, matrix: Any, read: Any) -> None:
    """This thread's tiles of queries, keys and values."""
    _reduce(task, matrix, read.plain)
    first, end = team.share(matrix.n_tiles)
    for tile in range(first, end):
        _outputs(task, matrix, read, tile, task.joint + tile * LANES * 4, matrix.n_tiles * LANES * 4)
    team.wait_for_all()


@njit(**PLAIN)
def _add(task: Any, matrix: Any, read: Any) -> None:
    """This thread's tiles of a product, to the states."""
    _reduce(task, matrix, read.plain)
    own, (first, end) = _own(task), team.share(matrix.n_tiles)
    made = carray(floats(own), (task.n_padded, LANES))
    states = carray(floats(task.states), (task.n_tokens, matrix.n_tiles, LANES))
    for tile in range(first, end):
        _outputs(task, matrix, read, tile, own, LANES * 4)
        for token in range(task.n_tokens):
            for lane in range(LANES):
                states[token, tile, lane] += made[token, lane]
    team.wait_for_all()


@njit(**PLAIN)
def _gate(task: Any, matrix: Any, read: Any, made: Any) -> None:
    """silu(gate) * up, this thread's groups of it."""
    _reduce(task, matrix, read.plain)
    groups, own = matrix.n_tiles * LANES // 2 // GROUP, _own(task)
    first, end = team.share(groups)
    plain = carray(floats(made.plain), (task.n_tokens, groups * GROUP))
    for group in range(first, end):
        for i in range(4):
            tile = 2 * group + i % 2 + i // 2 * 2 * groups
            _outputs(task, matrix, read, tile, own + i * task.n_padded * LANES * 4, LANES * 4)
        for token in range(task.n_tokens):
            for i in range(2):
                gate = own + (i * task.n_padded + token) * LANES * 4  # gate, gate, up, up
                up = gate + 2 * task.n_padded * LANES * 4
                gated(gate, up, made.plain + ((token * groups + group) * GROUP + i * LANES) * 4)
            pack(plain[token], group, group + 1, token, task.block, made)
    team.wait_for_all()


@cfunc(types.void(types.CPointer(numba.from_dtype(PASS))), **PLAIN)
def through(tasks: Any) -> None:
    """Layers `first_layer` to `end_layer` of the pass, then the norm if there is one, in place of its `states`."""
    task = carray(tasks, 1)[0]
    layers = carray(layers_at(task.layers), task.end_layer)
    for number in range(task.first_layer, task.end_layer):
        layer = layers[number]
        keys, values = longs(task.keys + number * 8)[0], longs(task.values + number * 8)[0]
        _prepare(task, layer.before_attention)
        _joint(task, layer.joint, task.normed)
        first, end = team.share(task.n_tokens * task.n_keys)
        for unit in range(first, end):
            place(task, layer, keys, values, unit % task.n_tokens, unit // task.n_tokens)
        if task.n_new > 1:  # then a token's keys are others' too
            team.wait_for_all()
        for unit in range(first, end):
            attend(task, layer, keys, values, unit, end)
        team.wait_for_all()
        _add(task, layer.out, task.inner)
        _prepare(task, layer.before_gate)
        _gate(task, layer.gated, task.normed, task.inner)
        _add(task, layer.down, task.inner)
    if task.last_norm != 0:
        first, end = team.share(task.n_tokens)
        for token in range(first, end):
            norm(carray(floats(task.states + token * task.size * 4), task.size), task.last_norm, task.eps)
