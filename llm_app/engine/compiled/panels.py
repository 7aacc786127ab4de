"""The product of a panel of a matrix with a block of tokens: for passes of so many tokens that unpacking costs little.

A panel is 32 outputs: two tiles of sixteen in bfloat16, each of whose groups of 32 inputs has sixteen steps with two
inputs of every output side by side, those that `pack` puts side by side too. Sums stay in the processor's registers
from the first input to the last, and each number that is read takes part in many products.
"""

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from llm_app.engine.compiled.numbers import PLAIN
from llm_app.engine.compiled.products import BFLOAT, HAS_DOT, PAIRS, STEPS, Dot, group_bytes
from llm_app.engine.compiled.team import IS_ALONE
from llm_app.engine.compiled.vectors import (
    BYTES,
    FLOATS,
    HALVES,
    INT,
    INTS,
    LANES,
    LINE,
    LONG,
    SHORTS,
    fetch,
    index,
    load,
    loop,
    multiply_add,
    store,
    vector,
)

# Whether this is the way for many tokens: processors that multiply matrices do better by oneDNN, as do those without
# products of bfloat16, and one thread where torch has more.
SUIT = HAS_DOT and not IS_ALONE and not llvmlite.binding.get_host_cpu_features().get("amx-bf16")
LEAST = 13  # tokens; of fewer, a pass is sooner done that reads blocks as they are
WIDTH = 2 * LANES  # outputs of a panel
BLOCKS = 12, 11, 10, 9  # tokens that are multiplied at once: with two vectors of weights they fill the registers
TILE_GROUP = STEPS * 4 * LANES  # bytes of a tile's group
AHEAD = 4  # lines


def blocks_for(n_tokens: int) -> tuple[int, int]:
    """How many of so many tokens are multiplied at once, and how many there are then; the last of them may be none."""
    n_padded = {block: -(-n_tokens // block) * block for block in BLOCKS}
    block = min(n_padded, key=lambda block: n_padded[block])
    return block, n_padded[block]


def pair_up(builder: ir.IRBuilder, low: ir.Value, high: ir.Value, address: ir.Value) -> None:
    """Store two vectors of float32 as pairs of bfloat16."""
    kind = ir.FunctionType(PAIRS, [FLOATS] * 2)
    call = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.cvtne2ps2bf16.512")
    both = builder.call(call, [high, low])  # those of the second stand first
    order = ir.Constant(ir.VectorType(INT, 2 * LANES), [i // 2 + i % 2 * LANES for i in range(2 * LANES)])
    pairs = builder.shuffle_vector(both, both, order)
    builder.store(pairs, builder.inttoptr(address, PAIRS.as_pointer()), align=4)


def _panel_product(n_tokens: int, *, is_listed: bool = False) -> Callable[..., None]:
    """The function (panel, groups, pairs, out, stride, ahead): token i's 32 outputs at `out` + i * `stride` bytes.

    `pairs` (groups, tokens, 16) as for `tile_product`. Meanwhile `AHEAD` * groups lines of memory from `ahead` on are
    brought near. With `is_listed`, (..., places, n_places) in place of that: of the panel's `n_places` groups those
    take part whose numbers stand at `places`.
    """

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        panel, groups, pairs, out, stride, *rest = arguments
        dot = Dot(builder)
        second = builder.add(panel, builder.mul(rest[1] if is_listed else groups, index(TILE_GROUP)))

        def with_group(group: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            totals, place = list(sums), group
            if is_listed:
                place = load(builder, builder.add(rest[0], builder.mul(group, index(8))), LONG, 8)
            starts = [builder.add(tile, builder.mul(place, index(TILE_GROUP))) for tile in (panel, second)]
            read = builder.add(pairs, builder.mul(group, index(4 * STEPS * n_tokens)))
            for step in range(STEPS):
                if not is_listed and step % (STEPS // AHEAD) == 0:
                    line = builder.add(builder.mul(group, index(AHEAD)), index(step // (STEPS // AHEAD)))
                    fetch(builder, builder.add(rest[0], builder.mul(line, index(LINE))))
                weights = [load(builder, builder.add(start, index(4 * LANES * step)), PAIRS, 4) for start in starts]
                for token in range(n_tokens):
                    pair = load(builder, builder.add(read, index(4 * (token * STEPS + step))), INT, 4)
                    for i in range(2):
                        totals[2 * token + i] = dot(totals[2 * token + i], weights[i], pair)
            return totals

        for i, total in enumerate(loop(builder, groups, [vector(0.0)] * 2 * n_tokens, with_group)):
            token = builder.add(out, builder.mul(index(i // 2), stride))
            store(builder, total, builder.add(token, index(4 * LANES * (i % 2))))
        return context.get_dummy_value()

    @intrinsic
    def product(_typing: Any, panel: Any, groups: Any, pairs: Any, out: Any, stride: Any, ahead: Any) -> Any:
        return types.void(*[types.intp] * 6), generate

    @intrinsic
    def listed(
        _typing: Any, panel: Any, groups: Any, pairs: Any, out: Any, stride: Any, places: Any, n_places: Any
    ) -> Any:
        return types.void(*[types.intp] * 7), generate

    made: Callable[..., None] = listed if is_listed else product
    return made


_12, _11, _10, _9 = (_panel_product(block) for block in BLOCKS)
multiply_listed = _panel_product(BLOCKS[0], is_listed=True)


@njit(**PLAIN)
def multiply_panel(panel: int, groups: int, block: int, pairs: int, out: int, stride: int, ahead: int) -> None:
    """A panel with a block of tokens; `stride` in bytes, `ahead` as above, or what is near already."""
    if block == 12:
        _12(panel, groups, pairs, out, stride, ahead)
    elif block == 11:
        _11(panel, groups, pairs, out, stride, ahead)
    elif block == 10:
        _10(panel, groups, pairs, out, stride, ahead)
    else:
        _9(panel, groups, pairs, out, stride, ahead)


def _unpacking(n_bits: int) -> Callable[..., None]:
    """The function (tile, groups, out): a tile of so many bits to one of bfloat16, at `out`."""

    @intrinsic
    def to_tile(_typing: Any, tile: Any, groups: Any, out: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
            tile, groups, out = arguments

            def with_group(group: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
                start = builder.add(tile, builder.mul(group, index(group_bytes(n_bits))))
                to = builder.add(out, builder.mul(group, index(TILE_GROUP)))
                numbers = _numbers(builder, start, n_bits)
                for step in range(STEPS):
                    low, high = numbers(step, 0), numbers(step, 1)
                    pair_up(builder, low, high, builder.add(to, index(4 * LANES * step)))
                return []

            loop(builder, groups, [], with_group)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 3), generate

    made: Callable[..., None] = to_tile
    return made


@intrinsic
def rounded_to(_typing: Any, numbers: Any, to: Any) -> Any:
    """(numbers, to): 32 numbers of float32 as bfloat16, at `to`."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        numbers, to = arguments
        for i in range(2):
            side = load(builder, builder.add(numbers, index(4 * LANES * i)), FLOATS, 4)
            rounded = builder.fptrunc(side, ir.VectorType(BFLOAT, LANES))
            place = builder.inttoptr(builder.add(to, index(2 * LANES * i)), SHORTS.as_pointer())
            builder.store(builder.bitcast(rounded, SHORTS), place, align=2)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def packed(_typing: Any, low: Any, high: Any, to: Any) -> Any:
    """(low, high, to): sixteen numbers of float32 and sixteen others as pairs of bfloat16, at `to`."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        *sides, to = arguments
        low, high = (load(builder, side, FLOATS, 4) for side in sides)
        pair_up(builder, low, high, to)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), generate


def _numbers(builder: ir.IRBuilder, start: ir.Value, n_bits: int) -> Callable[[int, int], ir.Value]:
    """Of a tile's group, the function (step, i) that gives input `step` + 16 * i of all outputs, in float32."""
    n_headers = 2 if n_bits == 4 else 1
    headers = [
        builder.fpext(load(builder, builder.add(start, index(2 * LANES * i)), HALVES, 2), FLOATS)
        for i in range(n_headers)
    ]

    def numbers(step: int, i: int) -> ir.Value:
        row = step if n_bits == 4 else step + i * STEPS
        values = load(builder, builder.add(start, index(LANES * (2 * n_headers + row))), BYTES)
        if n_bits == 8:
            return builder.fmul(builder.sitofp(builder.sext(values, INTS), FLOATS), headers[0])
        whole = builder.lshr(builder.zext(values, INTS), vector(4 * i, INTS))
        low = builder.and_(whole, vector(15, INTS))
        return multiply_add(builder, builder.sitofp(low, FLOATS), headers[0], headers[1])

    return numbers


_of_4_bits, _of_8_bits = _unpacking(4), _unpacking(8)


@njit(**PLAIN)
def panel_bytes(matrix: Any) -> int:
    """Of a panel of a matrix before it is unpacked."""
    return 2 * matrix.groups * group_bytes(matrix.n_bits)


@njit(**PLAIN)
def ahead_of(matrix: Any, panel: int, i: int) -> int:
    """What the `i`-th product with a panel brings near: a part of the next panel, the last one again once all are here.

    Else unpacking that would wait for memory, whose turn this is not.
    """
    at_once, n_bytes = AHEAD * matrix.groups * LINE, panel_bytes(matrix)
    return matrix.tiles + (panel + 1) * n_bytes + min(i, (n_bytes - 1) // at_once) * at_once


@njit(**PLAIN)
def unpacked(matrix: Any, panel: int, room: int) -> int:
    """Where a panel of a matrix stands: where it always did, or at `room`, where it is unpacked to."""
    start, n_bits, groups = matrix.tiles + panel * panel_bytes(matrix), matrix.n_bits, matrix.groups
    if n_bits == 16:
        return start
    for i in range(2):
        tile, to = start + i * panel_bytes(matrix) // 2, room + i * groups * TILE_GROUP
        if n_bits == 4:
            _of_4_bits(tile, groups, to)
        else:
            _of_8_bits(tile, groups, to)
    return room
