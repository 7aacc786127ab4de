"""Vectors of sixteen numbers, and memory at an address: what Numba has no words for, written as LLVM's instructions."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
LINE = 64  # bytes that come from memory together
INT, LONG, FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
FLOATS, INTS, SHORTS, BYTES, HALVES = (
    ir.VectorType(kind, LANES) for kind in (FLOAT, INT, ir.IntType(16), ir.IntType(8), ir.HalfType())
)


def vector(value: float, kind: ir.VectorType = FLOATS) -> ir.Constant:
    return ir.Constant(kind, [value] * LANES)


def index(value: int) -> ir.Constant:
    return ir.Constant(LONG, value)


def splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The number in all lanes."""
    kind = ir.VectorType(value.type, LANES)
    none, first = ir.Constant(kind, ir.Undefined), ir.Constant(INT, 0)
    return builder.shuffle_vector(
        builder.insert_element(none, value, first), none, ir.Constant(INTS, [0] * LANES)
    )  # fmt: skip


def load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type, align: int = 1) -> ir.Value:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    kind = ir.FunctionType(FLOATS, [FLOATS] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), [a, b, c])


def store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    """Numbers in float32."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=4)


def fetch(builder: ir.IRBuilder, address: ir.Value) -> None:
    """Have the line at an address brought near; whether there is memory does not matter."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, INT, INT, INT])
    call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    read, second_level, data = (ir.Constant(INT, value) for value in (0, 2, 1))
    builder.call(call, [builder.inttoptr(address, byte), read, second_level, data])


def loop(
    builder: ir.IRBuilder,
    n: ir.Value,
    carried: Sequence[ir.Value],
    body: Callable[[ir.Value, list[ir.Value]], Sequence[ir.Value]],
) -> list[ir.Value]:
    """What `body` makes of the carried values in the end, for i from 0 to `n`, which is 1 at least."""
    before, head, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(head)
    builder.position_at_end(head)
    i, values = builder.phi(LONG), [builder.phi(each.type) for each in carried]
    made = body(i, values)
    following = builder.add(i, index(1))
    for phi, first, again in ((i, index(0), following), *zip(values, carried, made, strict=True)):
        phi.add_incoming(first, before)
        phi.add_incoming(again, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, n), head, after)
    builder.position_at_end(after)
    return list(made)


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
    return types.float32(types.uint32), lambda _context, builder, _signature, found: builder.bitcast(found[0], FLOAT)


@intrinsic
def bits_of(_typing: Any, value: Any) -> Any:
    """The 32 bits of a float32."""
    return types.uint32(types.float32), lambda _context, builder, _signature, found: builder.bitcast(found[0], INT)
