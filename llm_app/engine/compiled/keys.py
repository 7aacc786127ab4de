"""Attention's two sums over the keys of one head, in float32 on keys and values in bfloat16.

Queries that share the head are taken together, up to three, so that a key is made float32 once for all of them.
Meanwhile what is read next is brought near: the rows of a batch are far from each other.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from llm_app.engine.compiled.numbers import PLAIN
from llm_app.engine.compiled.vectors import (
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LANES,
    LINE,
    SHORTS,
    fetch,
    index,
    load,
    loop,
    multiply_add,
    splat,
    store,
    vector,
)

MOST_QUERIES = 3  # whose sums, of eight keys or of 64 numbers of a value, the processor's registers hold
KEYS = 8  # at once
AT_ONCE = 4  # vectors of a value's numbers whose sums are made together


def _numbers(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Sixteen numbers in bfloat16, as float32."""
    bits = builder.zext(load(builder, address, SHORTS, 2), INTS)
    return builder.bitcast(builder.shl(bits, vector(16, INTS)), FLOATS)


def _halved(builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
    """Sums of neighbours: those of the first vector in the lower lanes, those of the second in the upper."""
    even, odd = (
        builder.shuffle_vector(first, second, ir.Constant(INTS, [2 * i + offset for i in range(LANES)]))
        for offset in (0, 1)
    )
    return builder.fadd(even, odd)


def _likenesses(n_queries: int) -> Callable[..., None]:
    """The function (queries, keys, n_vectors, scores, stride, ahead): the products of eight keys with so many queries.

    A key and a query have 16 * n_vectors numbers, and queries stand one behind the other. Those of a query are at
    `scores` + i * `stride` bytes. As many bytes as are read of the keys are brought near from `ahead` on.
    """

    @intrinsic
    def likenesses(_typing: Any, queries: Any, keys: Any, n_vectors: Any, scores: Any, stride: Any, ahead: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
            queries, keys, n_vectors, scores, stride, ahead = arguments
            per_query, per_key = (builder.mul(n_vectors, index(n * LANES)) for n in (4, 2))

            def with_vector(i: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                query, key = (builder.add(a, builder.mul(i, index(n * LANES))) for a, n in ((queries, 4), (keys, 2)))
                numbers, added = [], list(sums)
                n_bytes = KEYS * 2 * LANES
                for line in range(0, n_bytes, LINE):
                    fetch(builder, builder.add(ahead, builder.add(builder.mul(i, index(n_bytes)), index(line))))
                for _ in range(n_queries):
                    numbers.append(load(builder, query, FLOATS, 4))
                    query = builder.add(query, per_query)
                for j in range(KEYS):
                    of_key = _numbers(builder, key)
                    for q in range(n_queries):
                        added[q * KEYS + j] = multiply_add(builder, numbers[q], of_key, added[q * KEYS + j])
                    key = builder.add(key, per_key)
                return added

            sums = loop(builder, n_vectors, [vector(0.0)] * KEYS * n_queries, with_vector)
            for q in range(n_queries):
                of_query = sums[q * KEYS : (q + 1) * KEYS]
                while len(of_query) > 1:
                    of_query = [_halved(builder, *of_query[i : i + 2]) for i in range(0, len(of_query), 2)]
                last = _halved(builder, of_query[0], of_query[0])  # eight sums, twice
                half = builder.shuffle_vector(last, last, ir.Constant(ir.VectorType(INT, KEYS), [*range(KEYS)]))
                place = builder.add(scores, builder.mul(index(q), stride))
                builder.store(half, builder.inttoptr(place, half.type.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), generate

    made: Callable[..., None] = likenesses
    return made


def _taken(n_queries: int) -> Callable[..., None]:
    """The function (weights, stride, values, n, size, out, ahead): sums of n values by the weights of so many queries.

    Of 64 numbers of the values; `size` numbers are one value, and what one query takes. A query's weights are at
    `weights` + i * `stride` bytes. As many bytes as are read of the values are brought near from `ahead` on.
    """

    @intrinsic
    def taken(_typing: Any, weights: Any, stride: Any, values: Any, n: Any, size: Any, out: Any, ahead: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
            weights, stride, values, n, size, out, ahead = arguments

            def with_value(i: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                before, added = builder.mul(builder.mul(i, size), index(2)), []
                value, following = (builder.add(start, before) for start in (values, ahead))
                for line in range(0, 2 * LANES * AT_ONCE, LINE):
                    fetch(builder, builder.add(following, index(line)))
                parts = [_numbers(builder, builder.add(value, index(2 * LANES * j))) for j in range(AT_ONCE)]
                weight = builder.add(weights, builder.mul(i, index(4)))
                for q in range(n_queries):
                    factor = splat(builder, load(builder, weight, FLOAT, 4))
                    weight = builder.add(weight, stride)
                    of_query = sums[q * AT_ONCE : (q + 1) * AT_ONCE]
                    added += [multiply_add(builder, factor, *pair) for pair in zip(parts, of_query, strict=True)]
                return added

            for i, total in enumerate(loop(builder, n, [vector(0.0)] * AT_ONCE * n_queries, with_value)):
                place = builder.add(out, builder.mul(builder.mul(index(i // AT_ONCE), size), index(4)))
                store(builder, total, builder.add(place, index(4 * LANES * (i % AT_ONCE))))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), generate

    made: Callable[..., None] = taken
    return made


_likenesses_1, _likenesses_2, _likenesses_3 = (_likenesses(n) for n in (1, 2, 3))
_taken_1, _taken_2, _taken_3 = (_taken(n) for n in (1, 2, 3))


@njit(**PLAIN)
def likenesses(
    n_queries: int, queries: int, keys: int, n_vectors: int, scores: int, stride: int, ahead: int
) -> None:
    """The scores of eight keys, of up to three queries."""
    if n_queries == 1:
        _likenesses_1(queries, keys, n_vectors, scores, stride, ahead)
    elif n_queries == 2:
        _likenesses_2(queries, keys, n_vectors, scores, stride, ahead)
    else:
        _likenesses_3(queries, keys, n_vectors, scores, stride, ahead)


@njit(**PLAIN)
def taken(
    n_queries: int, weights: int, stride: int, values: int, n: int, size: int, out: int, ahead: int
) -> None:
    """What up to three queries take from 64 numbers of the values."""
    if n_queries == 1:
        _taken_1(weights, stride, values, n, size, out, ahead)
    elif n_queries == 2:
        _taken_2(weights, stride, values, n, size, out, ahead)
    else:
        _taken_3(weights, stride, values, n, size, out, ahead)
