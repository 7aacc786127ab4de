"""Softmax's exponential and silu of compiled passes, against NumPy in float64."""

import numpy as np
import pytest
from numba import njit

from llm_app.engine.compiled.curves import gated, softened
from llm_app.engine.compiled.vectors import LANES


@njit
def _softened(scores: int, n_vectors: int, scale: float) -> float:
    return softened(scores, n_vectors, np.float32(scale))


@njit
def _gated(gate: int, up: int, to: int) -> None:
    gated(gate, up, to)


@pytest.mark.parametrize("scale", [1.0, 0.125])
@pytest.mark.parametrize("spread", [0.0, 1.0, 40.0, 400.0])
def test_the_softmax_of_scores_is_that_of_float64(spread: float, scale: float) -> None:
    scores = (np.random.default_rng(0).standard_normal(40 * LANES) * spread).astype(np.float32)
    scores[-5:] = -np.inf
    want = np.exp(scale * (scores.astype(np.float64) - scores.max()))
    got = scores.copy()
    total = _softened(got.ctypes.data, 40, scale)
    assert (got[-5:] == 0).all(), "a key that is not seen has weight"
    weights, exact = got / total, want / want.sum()
    # The exponent is rounded to float32 before its power is taken, so that small weights are less exact.
    bound = 1e-6 + 2e-7 * np.abs(np.log(want, where=want > 0, out=np.zeros_like(want)))
    assert (np.abs(weights - exact) <= bound * exact + 2e-38).all()
    assert total == pytest.approx(want.sum(), rel=1e-4)


def test_the_gate_is_that_of_float64_from_end_to_end() -> None:
    gate = np.concatenate([
        np.linspace(-120, 120, 4000 * LANES), np.linspace(-1e-3, 1e-3, LANES), [0.0, -0.0, 1e30, -1e30] * 4,
    ]).astype(np.float32)  # fmt: skip
    up = np.random.default_rng(0).standard_normal(len(gate)).astype(np.float32)
    got = np.empty_like(gate)
    for i in range(0, len(gate), LANES):
        _gated(*(each[i : i + LANES].ctypes.data for each in (gate, up, got)))
    wide = gate.astype(np.float64)
    want = wide / (1 + np.exp(-np.maximum(wide, -700))) * up
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)
    assert np.isfinite(got).all()
    close = np.abs(gate) < 8
    np.testing.assert_allclose(got[close], want[close], rtol=2e-6)


def test_what_is_no_number_does_not_become_one() -> None:
    gate, up, got = np.full(LANES, np.nan, np.float32), np.ones(LANES, np.float32), np.zeros(LANES, np.float32)
    _gated(gate.ctypes.data, up.ctypes.data, got.ctypes.data)
    assert np.isnan(got).all()
