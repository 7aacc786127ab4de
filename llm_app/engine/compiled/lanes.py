"""Operations that Numba has no words for: numbers in bfloat16, memory at an address, and the product of a tile.

A tile is sixteen outputs of a matrix, one in each lane of a vector. Its groups of 32 inputs stand one behind the other,
each with the sixteen scales and, of four bits, offsets in float16, then the values: byte j of lane i holds input j in
its low and input j + 16 in its high bits, or inputs j and j + 16 are a byte each (`tiles.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

LANES, GROUP = 16, 32
_HALF = GROUP // 2
_BYTE, _SHORT, _INT, _LONG, _FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_FLOATS, _INTS, _BYTES, _HALVES = (
    ir.VectorType(kind, LANES) for kind in (_FLOAT, _INT, _BYTE, ir.HalfType())
)  # fmt: skip


class _BFloat(ir.Type):
    """LLVM's bfloat, for which llvmlite has no name."""

    def _to_string(self) -> str:
        return "bfloat"


_PAIRS = ir.VectorType(_BFloat(), 2 * LANES)
HAS_DOT = bool(llvmlite.binding.get_host_cpu_features().get("avx512bf16"))


def _vector(value: float, kind: ir.VectorType = _FLOATS) -> ir.Constant:
    return ir.Constant(kind, [value] * LANES)


def _index(value: int) -> ir.Constant:
    return ir.Constant(_LONG, value)


def _splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The number in all lanes."""
    kind = ir.VectorType(value.type, LANES)
    none, first = ir.Constant(kind, ir.Undefined), ir.Constant(_INT, 0)
    return builder.shuffle_vector(
        builder.insert_element(none, value, first), none, ir.Constant(_INTS, [0] * LANES)
    )  # fmt: skip


def _load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type, align: int = 1) -> ir.Value:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def _multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), [a, b, c])


class _Dot:
    """Adds to sums what pairs of a matrix times pairs of a token's numbers come to, by the processor's own operation.

    It takes pairs in bfloat16, which whole numbers up to 256 are. Four bits become 128 and more, whose last bits they
    are: the sums come out as if the value were so much more, which `SHIFT` tells.
    """

    SHIFT = 128.0

    def __init__(self, builder: ir.IRBuilder) -> None:
        self._builder = builder
        kind = ir.FunctionType(_FLOATS, [_FLOATS, _PAIRS, _PAIRS])
        self._call = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")

    def of_nibbles(self, low: ir.Value, high: ir.Value) -> ir.Value:
        """`low` in bits 0 to 3, `high` in bits 4 to 7 of each lane."""
        both = self._builder.or_(low, self._builder.shl(high, _vector(12, _INTS)))
        return self._builder.bitcast(self._builder.or_(both, _vector(0x43004300, _INTS)), _PAIRS)

    def of_bytes(self, low: ir.Value, high: ir.Value) -> ir.Value:
        builder = self._builder
        bits = [builder.bitcast(builder.sitofp(each, _FLOATS), _INTS) for each in (low, high)]
        both = builder.or_(builder.lshr(bits[0], _vector(16, _INTS)), bits[1])  # the low half of a whole number is 0
        return builder.bitcast(both, _PAIRS)

    def __call__(self, total: ir.Value, weights: ir.Value, pair: ir.Value) -> ir.Value:
        return self._builder.call(
            self._call, [total, weights, self._builder.bitcast(_splat(self._builder, pair), _PAIRS)]
        )


class _Plain:
    """The same on any processor."""

    SHIFT = 0.0

    def __init__(self, builder: ir.IRBuilder) -> None:
        self._builder = builder

    def of_nibbles(self, low: ir.Value, high: ir.Value) -> tuple[ir.Value, ir.Value]:
        return self.of_bytes(low, self._builder.lshr(high, _vector(4, _INTS)))

    def of_bytes(self, low: ir.Value, high: ir.Value) -> tuple[ir.Value, ir.Value]:
        return self._builder.sitofp(low, _FLOATS), self._builder.sitofp(high, _FLOATS)

    def __call__(self, total: ir.Value, weights: tuple[ir.Value, ir.Value], pair: ir.Value) -> ir.Value:
        builder = self._builder
        first = builder.shl(pair, ir.Constant(_INT, 16))
        second = builder.and_(pair, ir.Constant(_INT, 0xFFFF0000))
        for weight, bits in zip(weights, (first, second), strict=True):
            total = _multiply_add(builder, weight, _splat(builder, builder.bitcast(bits, _FLOAT)), total)
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
        self._dot: Any = (_Dot if HAS_DOT else _Plain)(builder)

    def build(self) -> None:
        """A loop over groups that carries the tokens' sums."""
        builder = self._builder
        before, head, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(head)
        builder.position_at_end(head)
        group = builder.phi(_LONG)
        totals = [builder.phi(_FLOATS) for _ in range(self._n_tokens)]
        group.add_incoming(_index(0), before)
        for total in totals:
            total.add_incoming(_vector(0.0), before)
        added = self._with_group(group, totals)
        following = builder.add(group, _index(1))
        group.add_incoming(following, builder.block)
        for total, more in zip(totals, added, strict=True):
            total.add_incoming(more, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, self._groups), head, after)
        builder.position_at_end(after)
        for i, total in enumerate(added):
            address = builder.add(self._out, builder.mul(_index(i), self._stride))
            builder.store(total, builder.inttoptr(address, _FLOATS.as_pointer()), align=4)

    def _with_group(self, group: ir.Value, totals: Sequence[ir.Value]) -> list[ir.Value]:
        builder, n_tokens = self._builder, self._n_tokens
        start = builder.add(self._tile, builder.mul(group, _index(group_bytes(self._n_bits))))
        pairs = builder.add(self._pairs, builder.mul(group, _index(4 * _HALF * n_tokens)))
        parts = [_vector(0.0)] * n_tokens
        for j in range(_HALF):
            weights = self._weights(start, j)
            for i in range(n_tokens):
                pair = _load(builder, builder.add(pairs, _index(4 * (i * _HALF + j))), _INT, 4)
                parts[i] = self._dot(parts[i], weights, pair)
        scales = builder.fpext(_load(builder, start, _HALVES, 2), _FLOATS)
        sums = [parts[i] for i in range(n_tokens)]
        totals = [_multiply_add(builder, part, scales, total) for part, total in zip(sums, totals, strict=True)]
        if self._n_bits == 8:
            return totals
        offsets = builder.fpext(_load(builder, builder.add(start, _index(2 * LANES)), _HALVES, 2), _FLOATS)
        offsets = builder.fsub(offsets, builder.fmul(scales, _vector(self._dot.SHIFT)))
        for i in range(n_tokens):
            place = builder.add(builder.mul(self._groups, _index(i)), group)
            total = _load(builder, builder.add(self._sums, builder.mul(place, _index(4))), _FLOAT, 4)
            totals[i] = _multiply_add(builder, offsets, _splat(builder, total), totals[i])
        return totals

    def _weights(self, start: ir.Value, j: int) -> Any:
        builder = self._builder
        header = 2 * LANES * (2 if self._n_bits == 4 else 1)
        at = [builder.add(start, _index(header + LANES * place)) for place in (j, j + _HALF)]
        if self._n_bits == 8:
            return self._dot.of_bytes(*(builder.sext(_load(builder, each, _BYTES), _INTS) for each in at))
        both = builder.zext(_load(builder, at[0], _BYTES), _INTS)
        return self._dot.of_nibbles(*(builder.and_(both, _vector(mask, _INTS)) for mask in (0x0F, 0xF0)))


@register_jitable
def group_bytes(n_bits: int) -> int:
    """Of a tile's group: scales, offsets if of four bits, values."""
    return LANES * (4 + _HALF if n_bits == 4 else 2 + GROUP)


@intrinsic
def floats(_typing: Any, address: Any) -> Any:
    """The address as that of numbers in float32."""
    return types.CPointer(types.float32)(types.intp), pointer


@intrinsic
def shorts(_typing: Any, address: Any) -> Any:
    """The address as that of 16 bits each."""
    return types.CPointer(types.uint16)(types.intp), pointer


@intrinsic
def ints(_typing: Any, address: Any) -> Any:
    """The address as that of 32 bits each."""
    return types.CPointer(types.uint32)(types.intp), pointer


@intrinsic
def longs(_typing: Any, address: Any) -> Any:
    """The address as that of 64 bits each."""
    return types.CPointer(types.int64)(types.intp), pointer


def pointer(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
    """Generates the pointer that an intrinsic says it gives."""
    return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))


@intrinsic
def float_of(_typing: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""
    return types.float32(types.uint32), lambda _context, builder, _signature, found: builder.bitcast(found[0], _FLOAT)


@intrinsic
def bits_of(_typing: Any, value: Any) -> Any:
    """The 32 bits of a float32."""
    return types.uint32(types.float32), lambda _context, builder, _signature, found: builder.bitcast(found[0], _INT)
