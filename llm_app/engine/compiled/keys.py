"""Attention's two sums over keys of one head, in float32 on keys and values in bfloat16."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from llm_app.engine.compiled.vectors import (
    FLOAT,
    FLOATS,
    INTS,
    LANES,
    SHORTS,
    index,
    load,
    loop,
    multiply_add,
    splat,
    store,
    vector,
)

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


@intrinsic
def likenesses(_typing: Any, query: Any, keys: Any, n_vectors: Any, scores: Any) -> Any:
    """(query, keys, n, scores): at `scores` the products of sixteen keys with a query, both of 16 * n numbers."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        query, keys, n_vectors, scores = arguments
        stride = builder.mul(n_vectors, index(2 * LANES))

        def with_vector(i: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            numbers = load(builder, builder.add(query, builder.mul(i, index(4 * LANES))), FLOATS, 4)
            key, added = builder.add(keys, builder.mul(i, index(2 * LANES))), []
            for total in sums:
                added.append(multiply_add(builder, numbers, _numbers(builder, key), total))
                key = builder.add(key, stride)
            return added

        sums = loop(builder, n_vectors, [vector(0.0)] * LANES, with_vector)
        while len(sums) > 1:
            sums = [_halved(builder, *sums[i : i + 2]) for i in range(0, len(sums), 2)]
        store(builder, sums[0], scores)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), generate


@intrinsic
def taken(_typing: Any, weights: Any, values: Any, n: Any, stride: Any, out: Any) -> Any:
    """(weights, values, n, stride, out): at `out` the sum of n values by weight, of 64 of their numbers.

    `stride`: bytes from one value to the next.
    """

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        weights, values, n, stride, out = arguments

        def with_value(i: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            weight = splat(builder, load(builder, builder.add(weights, builder.mul(i, index(4))), FLOAT, 4))
            value = builder.add(values, builder.mul(i, stride))
            parts = [_numbers(builder, builder.add(value, index(2 * LANES * j))) for j in range(AT_ONCE)]
            return [multiply_add(builder, weight, part, total) for part, total in zip(parts, sums, strict=True)]

        for j, total in enumerate(loop(builder, n, [vector(0.0)] * AT_ONCE, with_value)):
            store(builder, total, builder.add(out, index(4 * LANES * j)))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate
