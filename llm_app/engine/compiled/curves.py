"""Softmax and silu of vectors, whose results are packed for the next product as they come."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from llm_app.engine.compiled.panels import BLOCKS, pair_up
from llm_app.engine.compiled.products import GROUP, STEPS
from llm_app.engine.compiled.vectors import (
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LANES,
    LONG,
    index,
    load,
    loop,
    multiply_add,
    splat,
    store,
    vector,
)

BLOCK_BYTES = BLOCKS[0] * STEPS * 4  # of a group of a block
_LOG2_E = 1.4426950408889634
_LEAST = -126.0  # powers of two below it are 0 here, as float32 holds no more of them in full
# 2 to the x, from -1/2 to 1/2: of all polynomials with so many terms, 1 at 0, that with the least relative error, 9e-8.
_POWER = [0.001326472714, 0.00967151264, 0.05550733744, 0.2402224209, 0.6931469776, 1.0]


def _of(builder: ir.IRBuilder, name: str, *values: ir.Value) -> ir.Value:
    """What a function of vectors that LLVM knows gives."""
    kind = ir.FunctionType(FLOATS, [FLOATS] * len(values))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32"), values)


def _power(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """2 to the x, for x below 128, -inf too, within 2e-7 of the exact one's size."""
    whole = _of(builder, "roundeven", x)
    part = builder.fsub(x, whole)
    result: ir.Value = vector(_POWER[0])
    for factor in _POWER[1:]:
        result = multiply_add(builder, part, result, vector(factor))
    exponent = builder.shl(builder.fptosi(whole, INTS), vector(23, INTS))
    result = builder.bitcast(builder.add(builder.bitcast(result, INTS), exponent), FLOATS)
    return builder.select(builder.fcmp_ordered(">=", x, vector(_LEAST)), result, vector(0.0))


class _Exponential:
    """exp(scale * (x - most)) of vectors, all shifted alike by what rounding scale * most does to the exponent."""

    def __init__(self, builder: ir.IRBuilder, scale: ir.Value, most: ir.Value) -> None:
        self._builder = builder
        self._factor = splat(builder, builder.fmul(scale, ir.Constant(FLOAT, _LOG2_E)))
        self._below = builder.fsub(vector(-0.0), builder.fmul(self._factor, splat(builder, most)))

    def __call__(self, x: ir.Value) -> ir.Value:
        return _power(self._builder, multiply_add(self._builder, x, self._factor, self._below))


def _larger(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _added(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.fadd(a, b)


def _across(builder: ir.IRBuilder, x: ir.Value, joined: Callable[..., ir.Value]) -> ir.Value:
    """What all lanes come to."""
    step = LANES // 2
    while step:
        moved = builder.shuffle_vector(x, x, ir.Constant(INTS, [(i + step) % LANES for i in range(LANES)]))
        x, step = joined(builder, x, moved), step // 2
    return builder.extract_element(x, ir.Constant(INT, 0))


@intrinsic
def softened(_typing: Any, scores: Any, n_vectors: Any, scale: Any) -> Any:
    """(scores, n, scale): 16 * n scores become exp(scale * (score - the largest)), 0 where they are -inf; their sum."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        scores, n_vectors, scale = arguments

        def place(i: ir.Value) -> ir.Value:
            return builder.add(scores, builder.mul(i, index(4 * LANES)))

        def larger(i: ir.Value, most: list[ir.Value]) -> list[ir.Value]:
            return [_larger(builder, load(builder, place(i), FLOATS, 4), most[0])]

        most = _across(builder, loop(builder, n_vectors, [vector(-math.inf)], larger)[0], _larger)
        exponential = _Exponential(builder, scale, most)

        def with_vector(i: ir.Value, total: list[ir.Value]) -> list[ir.Value]:
            made = exponential(load(builder, place(i), FLOATS, 4))
            store(builder, made, place(i))
            return [builder.fadd(total[0], made)]

        return _across(builder, loop(builder, n_vectors, [vector(0.0)], with_vector)[0], _added)

    return types.float32(types.intp, types.intp, types.float32), generate


class _Seen:
    """Scores of panels of keys, 32 each, of which those count that stand in a stretch; the others become -inf.

    With no stretches all count.
    """

    def __init__(self, builder: ir.IRBuilder, scores: ir.Value, places: ir.Value, seen: ir.Value, n: int) -> None:
        self._builder, self._scores, self._places = builder, scores, places
        self._ends = [self._number(seen, index(i)) for i in range(2 * n)]

    def _number(self, address: ir.Value, i: ir.Value) -> ir.Value:
        builder = self._builder
        found = load(builder, builder.add(address, builder.mul(i, index(8))), LONG, 8)
        return splat(builder, builder.trunc(found, INT))

    def panel(self, i: ir.Value) -> list[ir.Value]:
        """Its scores, two vectors."""
        builder, found = self._builder, []
        start = builder.add(self._scores, builder.mul(i, index(4 * GROUP)))
        scores = [load(builder, builder.add(start, index(4 * LANES * side)), FLOATS, 4) for side in range(2)]
        if not self._ends:
            return scores
        first = builder.mul(self._number(self._places, i), vector(GROUP, INTS))
        for side, score in enumerate(scores):
            lanes = ir.Constant(INTS, [LANES * side + lane for lane in range(LANES)])
            key, is_seen = builder.add(first, lanes), ir.Constant(ir.VectorType(ir.IntType(1), LANES), [False] * LANES)
            for begin, end in zip(self._ends[::2], self._ends[1::2], strict=True):
                is_within = builder.and_(builder.icmp_signed(">=", key, begin), builder.icmp_signed("<", key, end))
                is_seen = builder.or_(is_seen, is_within)
            found.append(builder.select(is_seen, score, vector(-math.inf)))
        return found


def _peak(n_stretches: int) -> Callable[..., Any]:
    """The function (scores, panels, places, seen): the largest score of the keys that are seen.

    Of each panel, whose number stands at `places`, 32 scores. `seen` (stretches, 2): the first key and that behind
    the last, of so many stretches.
    """

    @intrinsic
    def peak(_typing: Any, scores: Any, panels: Any, places: Any, seen: Any) -> Any:
        def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
            scores, panels, places, seen = arguments
            read = _Seen(builder, scores, places, seen, n_stretches)

            def with_panel(i: ir.Value, most: list[ir.Value]) -> list[ir.Value]:
                return [_larger(builder, *pair) for pair in zip(read.panel(i), most, strict=True)]

            most = loop(builder, panels, [vector(-math.inf)] * 2, with_panel)
            return _across(builder, _larger(builder, *most), _larger)

        return types.float32(*[types.intp] * 4), generate

    made: Callable[..., Any] = peak
    return made


def _exponentials(n_stretches: int) -> Callable[..., Any]:
    """The function (scores, panels, places, seen, scale, most, pairs): exp(scale * (score - most)); gives their sum.

    Scores as for `_peak`, which gives `most`. At `pairs` they are one of the twelve queries of a block, group after
    group, packed; 0 where a key is not seen.
    """

    @intrinsic
    def exponentials(
        _typing: Any, scores: Any, panels: Any, places: Any, seen: Any, scale: Any, most: Any, pairs: Any
    ) -> Any:
        def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
            scores, panels, places, seen, scale, most, pairs = arguments
            read, exponential = _Seen(builder, scores, places, seen, n_stretches), _Exponential(builder, scale, most)

            def with_panel(i: ir.Value, totals: list[ir.Value]) -> list[ir.Value]:
                low, high = sides = [exponential(score) for score in read.panel(i)]
                pair_up(builder, low, high, builder.add(pairs, builder.mul(i, index(BLOCK_BYTES))))
                return [builder.fadd(*pair) for pair in zip(totals, sides, strict=True)]

            totals = loop(builder, panels, [vector(0.0)] * 2, with_panel)
            return _across(builder, builder.fadd(*totals), _added)

        addresses, numbers = [types.intp] * 4, [types.float32] * 2
        return types.float32(*addresses, *numbers, types.intp), generate

    made: Callable[..., Any] = exponentials
    return made


peak_of_all, peak_of_text, peak_of_tree = (_peak(n) for n in (0, 1, 3))
exponentials_of_all, exponentials_of_text, exponentials_of_tree = (_exponentials(n) for n in (0, 1, 3))


def _silu(builder: ir.IRBuilder, gate: ir.Value) -> ir.Value:
    """Gate over 1 + exp(-gate). The power is bounded, so that no gate above -1e30 comes out as more than 1e-7."""
    opposite = builder.fmul(gate, vector(-_LOG2_E))
    bounded = builder.select(builder.fcmp_ordered("<", opposite, vector(-_LEAST)), opposite, vector(-_LEAST))
    return builder.fdiv(gate, builder.fadd(vector(1.0), _power(builder, bounded)))


def _gated(builder: ir.IRBuilder, gate: ir.Value, up: ir.Value, i: int) -> ir.Value:
    """silu(gate) * up of the `i`-th sixteen numbers at two addresses."""
    gate, up = (load(builder, builder.add(each, index(4 * LANES * i)), FLOATS, 4) for each in (gate, up))
    return builder.fmul(_silu(builder, gate), up)


@intrinsic
def gated(_typing: Any, gate: Any, up: Any, to: Any) -> Any:
    """(gate, up, to): silu(gate) * up of sixteen numbers, at `to` in float32."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        gate, up, to = arguments
        store(builder, _gated(builder, gate, up, 0), to)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), generate


@intrinsic
def gated_pairs(_typing: Any, gate: Any, up: Any, pairs: Any) -> Any:
    """(gate, up, pairs): the same of a group, packed at `pairs`."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Sequence[ir.Value]) -> ir.Value:
        gate, up, pairs = arguments
        low, high = (_gated(builder, gate, up, i) for i in range(2))
        pair_up(builder, low, high, pairs)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), generate
