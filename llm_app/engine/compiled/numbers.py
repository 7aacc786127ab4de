"""Functions of single numbers, and the norm of some."""

from typing import Any

import numpy as np
from numba import carray, njit

from llm_app.engine.compiled.vectors import bits_of, float_of, floats

# A loop that writes is made of vectors or not, whichever its addresses allow: it computes in the order that is written,
# so that no bit depends on them. A loop that only reads may add up in any order, which is then always the same.
PLAIN: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "cache": True}
SUM: dict[str, Any] = PLAIN | {"fastmath": {"contract", "reassoc", "nsz"}}


@njit(inline="always", **PLAIN)
def rounded(value: float) -> int:
    """To bfloat16, whose bits are the upper half of what comes back."""
    bits = bits_of(value)
    return (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)


@njit(inline="always", **PLAIN)
def wide(bits: int) -> float:
    """The number in bfloat16."""
    return float_of(np.uint32(bits) << np.uint32(16))


@njit(**SUM)
def one_over_length(x: Any, eps: float) -> Any:
    """Of numbers, what makes the mean of their squares 1."""
    total = np.float32(0)
    for i in range(len(x)):
        total += x[i] * x[i]
    return np.float32(1) / np.sqrt(total / np.float32(len(x)) + eps)


@njit(**PLAIN)
def norm(x: Any, weight: int, eps: float) -> None:
    """The root-mean-square norm in place, by the weight at an address."""
    w, factor = carray(floats(weight), len(x)), one_over_length(x, eps)
    for i in range(len(x)):
        x[i] *= factor * w[i]


@njit(**SUM)
def product(x: Any, y: Any) -> Any:
    """The inner product of some numbers with as many others."""
    result = np.float32(0)
    for i in range(len(x)):
        result += x[i] * y[i]
    return result


@njit(**SUM)
def product_with(x: Any, bits: Any) -> Any:
    """The inner product of some numbers with as many in bfloat16."""
    result = np.float32(0)
    for i in range(len(x)):
        result += x[i] * wide(bits[i])
    return result


@njit(**SUM)
def total_rounded(x: Any) -> Any:
    """Of some numbers, each in bfloat16."""
    result = np.float32(0)
    for i in range(len(x)):
        result += float_of(rounded(x[i]))
    return result
