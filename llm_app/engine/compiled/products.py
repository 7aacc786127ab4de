"""The product of a tile of a matrix with some tokens.

A tile is sixteen outputs of a matrix, one in each lane of a vector. Its groups of 32 inputs stand one behind the other,
each with the sixteen scales and, of four bits, offsets in float16, then the values: byte j of lane i holds input j in
its low and input j + 16 in its high bits, or inputs j and j + 16 are a byte each (`tiles.py`). A matrix in bfloat16 has
the two side by side and no scales.
"""

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from llm_app.engine.compiled.vectors import (
    BYTES,
    FLOAT,
    FLOATS,
    HALVES,
    INT,
    INTS,
    LANES,
    index,
    load,
    loop,
    multiply_add,
    splat,
    store,
    vector,
)

GROUP = 32
STEPS = GROUP // 2  # of a group: each takes two inputs of every output


class _BFloat(ir.Type):
    """LLVM's bfloat, for which llvmlite has no name."""

    def _to_string(self) -> str:
        return "bfloat"


BFLOAT = _BFloat()
PAIRS = ir.VectorType(BFLOAT, 2 * LANES)
HAS_DOT = bool(llvmlite.binding.get_host_cpu_features().get("avx512bf16"))


class Dot:
    """Adds to sums what pairs of a matrix times pairs of a token's numbers come to, by the processor's own operation.

    It takes pairs in bfloat16, which whole numbers up to 256 are. Four bits become 128 and more, whose last bits they
    are: the sums come out as if the value were so much more, which `SHIFT` tells.
    """

    SHIFT = 128.0

    def __init__(self, builder: ir.IRBuilder) -> None:
        self._builder = builder
        kind = ir.FunctionType(FLOATS, [FLOATS, PAIRS, PAIRS])
        self._call = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")

    def of_nibbles(self, low: ir.Value, high: ir.Value) -> ir.Value:
        """`low` in bits 0 to 3, `high` in bits 4 to 7 of each lane."""
        both = self._builder.or_(low, self._builder.shl(high, vector(12, INTS)))
        return self._builder.bitcast(self._builder.or_(both, vector(0x43004300, INTS)), PAIRS)

    def of_bytes(self, low: ir.Value, high: ir.Value) -> ir.Value:
        builder = self._builder
        bits = [builder.bitcast(builder.sitofp(each, FLOATS), INTS) for each in (low, high)]
        both = builder.or_(builder.lshr(bits[0], vector(16, INTS)), bits[1])  # the low half of a whole number is 0
        return builder.bitcast(both, PAIRS)

    def of_pairs(self, pairs: ir.Value) -> ir.Value:
        return self._builder.bitcast(pairs, PAIRS)

    def __call__(self, total: ir.Value, weights: ir.Value, pair: ir.Value) -> ir.Value:
        return self._builder.call(
            self._call, [total, weights, self._builder.bitcast(splat(self._builder, pair), PAIRS)]
        )


class _Plain:
    """The same on any processor."""

    SHIFT = 0.0

    def __init__(self, builder: ir.IRBuilder) -> None:
        self._builder = builder

    def of_nibbles(self, low: ir.Value, high: ir.Value) -> tuple[ir.Value, ir.Value]:
        return self.of_bytes(low, self._builder.lshr(high, vector(4, INTS)))

    def of_bytes(self, low: ir.Value, high: ir.Value) -> tuple[ir.Value, ir.Value]:
        return self._builder.sitofp(low, FLOATS), self._builder.sitofp(high, FLOATS)

    def of_pairs(self, pairs: ir.Value) -> tuple[ir.Value, ir.Value]:
        builder = self._builder
        sides = builder.shl(pairs, vector(16, INTS)), builder.and_(pairs, vector(0xFFFF0000, INTS))
        low, high = (builder.bitcast(side, FLOATS) for side in sides)
        return low, high

    def __call__(self, total: ir.Value, weights: tuple[ir.Value, ir.Value], pair: ir.Value) -> ir.Value:
        builder = self._builder
        first = builder.shl(pair, ir.Constant(INT, 16))
        second = builder.and_(pair, ir.Constant(INT, 0xFFFF0000))
        for weight, bits in zip(weights, (first, second), strict=True):
            total = multiply_add(builder, weight, splat(builder, builder.bitcast(bits, FLOAT)), total)
        return total


def tile_product(n_bits: int, n_tokens: int) -> Callable[..., None]:
    """The function (tile, groups, pairs, sums, out, stride) for tiles of so many bits and blocks of so many tokens.

    `pairs` (groups, tokens, 16) are the tokens' numbers in bfloat16, those at j and j + 16 of a group side by side,
    `sums` (tokens, groups) what they add up to. Token i's sixteen outputs are written at `out` + i * `stride` bytes.
    """

    @intrinsic
    def product(_typing: Any, tile: Any, groups: Any, pairs: Any, sums: Any, out: Any, stride: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
            _Product(builder, n_bits, n_tokens, arguments).build()
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), generate

    made: Callable[..., None] = product
    return made


class _Product:
    """Writes the instructions of one tile's product with a block of tokens."""

    def __init__(self, builder: ir.IRBuilder, n_bits: int, n_tokens: int, arguments: Sequence[ir.Value]) -> None:
        self._builder, self._n_bits, self._n_tokens = builder, n_bits, n_tokens
        self._tile, self._groups, self._pairs, self._sums, self._out, self._stride = arguments
        self._dot: Any = (Dot if HAS_DOT else _Plain)(builder)

    def build(self) -> None:
        """A loop over groups that carries the tokens' sums."""
        builder = self._builder
        totals = loop(builder, self._groups, [vector(0.0)] * self._n_tokens, self._with_group)
        for i, total in enumerate(totals):
            store(builder, total, builder.add(self._out, builder.mul(index(i), self._stride)))

    def _with_group(self, group: ir.Value, totals: Sequence[ir.Value]) -> list[ir.Value]:
        builder, n_tokens = self._builder, self._n_tokens
        start = builder.add(self._tile, builder.mul(group, index(group_bytes(self._n_bits))))
        pairs = builder.add(self._pairs, builder.mul(group, index(4 * STEPS * n_tokens)))
        has_scales = self._n_bits < 16
        parts = [vector(0.0)] * n_tokens if has_scales else list(totals)
        for j in range(STEPS):
            weights = self._weights(start, j)
            for i in range(n_tokens):
                pair = load(builder, builder.add(pairs, index(4 * (i * STEPS + j))), INT, 4)
                parts[i] = self._dot(parts[i], weights, pair)
        if not has_scales:
            return parts
        scales = builder.fpext(load(builder, start, HALVES, 2), FLOATS)
        sums = [parts[i] for i in range(n_tokens)]
        totals = [multiply_add(builder, part, scales, total) for part, total in zip(sums, totals, strict=True)]
        if self._n_bits == 8:
            return totals
        offsets = builder.fpext(load(builder, builder.add(start, index(2 * LANES)), HALVES, 2), FLOATS)
        offsets = builder.fsub(offsets, builder.fmul(scales, vector(self._dot.SHIFT)))
        for i in range(n_tokens):
            place = builder.add(builder.mul(self._groups, index(i)), group)
            total = load(builder, builder.add(self._sums, builder.mul(place, index(4))), FLOAT, 4)
            totals[i] = multiply_add(builder, offsets, splat(builder, total), totals[i])
        return totals

    def _weights(self, start: ir.Value, j: int) -> Any:
        builder = self._builder
        if self._n_bits == 16:
            return self._dot.of_pairs(load(builder, builder.add(start, index(4 * LANES * j)), INTS, 4))
        header = 2 * LANES * (2 if self._n_bits == 4 else 1)
        at = [builder.add(start, index(header + LANES * place)) for place in (j, j + STEPS)]
        if self._n_bits == 8:
            return self._dot.of_bytes(*(builder.sext(load(builder, each, BYTES), INTS) for each in at))
        both = builder.zext(load(builder, at[0], BYTES), INTS)
        return self._dot.of_nibbles(*(builder.and_(both, vector(mask, INTS)) for mask in (0x0F, 0xF0)))


@register_jitable
def group_bytes(n_bits: int) -> int:
    """Of a tile's group: scales, offsets if of four bits, values; or values alone."""
    if n_bits == 16:
        return LANES * 2 * GROUP
    return LANES * (4 + STEPS if n_bits == 4 else 2 + GROUP)
