"""Attention against its formula in float64."""

import pytest
import torch
from torch import Tensor

from llm_app.engine import attention
from llm_app.engine.attention import BLOCK, FEW_NEW, MANY_KEYS, NEAR, attend
from llm_app.engine.packed import can_prepack
from tests.running import watched

SIZE, VALUE_SIZE = 16, 24


def by_formula(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    group = query.shape[1] // key.shape[1]
    query, key, value = query.double(), *(each.double().repeat_interleave(group, 1) for each in (key, value))
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) * scale
    if mask is not None:
        scores = scores + torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, -torch.inf)
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return torch.einsum("bhqk,bhkd->bhqd", weights / weights.sum(-1, keepdim=True), value)


def drawn(n_rows: int, heads: tuple[int, int], n_new: int, n_keys: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(n_keys)
    shapes = (heads[0], n_new, SIZE), (heads[1], n_keys, SIZE), (heads[1], n_keys, VALUE_SIZE)
    query, key, value = (torch.randn(n_rows, *shape) for shape in shapes)
    # Not contiguous, as a projection's heads are not.
    return query.transpose(1, 2).contiguous().transpose(1, 2), key, value


def causal(n_new: int, n_keys: int) -> Tensor:
    return torch.ones(1, 1, n_new, n_keys, dtype=torch.bool).tril(n_keys - n_new)


def some_of(mask: Tensor) -> Tensor:
    mask = mask & (torch.rand(mask.shape) > 0.5)
    mask[..., 0] = True
    return mask


@pytest.mark.parametrize("n_keys", [NEAR - 1, NEAR, NEAR + 1, 150])
@pytest.mark.parametrize("heads", [(6, 2), (4, 4)])
@pytest.mark.parametrize("n_new", [1, 5])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_each_way_is_the_formula(n_keys: int, heads: tuple[int, int], n_new: int, scale: float | None) -> None:
    query, key, value = drawn(3, heads, n_new, n_keys)
    mask = some_of(causal(n_new, n_keys).expand(3, -1, -1, -1))
    kept = [each.clone() for each in (query, key, value, mask)]
    want = by_formula(query, key, value, mask, SIZE**-0.5 if scale is None else scale)
    torch.testing.assert_close(attend(query, key, value, mask, scale).double(), want, rtol=1e-5, atol=1e-5)
    assert all(map(torch.equal, (query, key, value, mask), kept)), "it changed what it was given"


@pytest.mark.parametrize("is_many", [False, True])
@pytest.mark.parametrize("sees_all", [False, True])
def test_one_token_of_each_of_many_rows_is_the_formula(is_many: bool, sees_all: bool) -> None:
    n_rows = MANY_KEYS // 90 + is_many
    query, key, value = drawn(n_rows, (6, 2), 1, 90)
    mask = None if sees_all else some_of(torch.ones(n_rows, 1, 1, 90, dtype=torch.bool))
    # What the rows hold stands in a longer store.
    beyond = [torch.full((n_rows, 2, 38, each.shape[3]), torch.nan) for each in (key, value)]
    key, value = (torch.cat(parts, 2)[:, :, :90] for parts in zip((key, value), beyond, strict=True))
    want = by_formula(query, key, value, mask, SIZE**-0.5)
    torch.testing.assert_close(attend(query, key, value, mask, None).double(), want, rtol=1e-5, atol=1e-5)
    short = [each.bfloat16() for each in (query, key, value)]
    torch.testing.assert_close(attend(*short, mask, None).double(), want, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("n_keys", [7, 150])
@pytest.mark.parametrize("n_before", [0, 5])
def test_without_a_mask_all_keys_are_seen_and_causally_those_before(n_keys: int, n_before: int) -> None:
    query, key, value = drawn(2, (6, 2), n_keys - n_before, n_keys)
    want = by_formula(query, key, value, None, SIZE**-0.5)
    torch.testing.assert_close(attend(query, key, value, None, None).double(), want, rtol=1e-5, atol=1e-5)
    want = by_formula(query, key, value, causal(n_keys - n_before, n_keys), SIZE**-0.5)
    got = attend(query, key, value, None, None, is_causal=True)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not can_prepack(), reason="no bfloat16 in oneDNN on this processor")
@pytest.mark.parametrize("n_new", [FEW_NEW + 1, BLOCK + 30, 2 * BLOCK + 30])
@pytest.mark.parametrize("n_before", [0, NEAR])
@pytest.mark.parametrize("has_mask", [False, True])
def test_prompts_in_blocks_are_the_formula(
    n_new: int, n_before: int, has_mask: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_keys = n_new + n_before
    drawn_ = [each.bfloat16() for each in drawn(2, (6, 2), n_new, n_keys)]
    mask = some_of(causal(n_new, n_keys).expand(2, -1, -1, -1)) if has_mask else None
    want = by_formula(*drawn_, causal(n_new, n_keys) if mask is None else mask, SIZE**-0.5)
    calls = watched(attention, "_in_blocks", monkeypatch)
    got = attend(*drawn_, mask, None, is_causal=mask is None)
    assert len(calls) == (n_keys > NEAR)
    assert float((got.double() - want).abs().mean() / want.abs().mean()) < 0.01
    torch.testing.assert_close(got.double(), want, rtol=0.05, atol=0.05)


def test_scores_that_bfloat16_cannot_hold_are_not_rounded_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys with a large common part, as biases make them: it changes no weight, but it is most of every score."""
    query, key, value = (each.bfloat16() for each in drawn(1, (6, 2), 100, 100))
    query, key = query.abs(), key + 512
    want = by_formula(query, key, value, causal(100, 100), SIZE**-0.5)
    calls = watched(attention, "_in_blocks", monkeypatch)
    got = attend(query, key, value, None, None, is_causal=True)
    assert not calls
    torch.testing.assert_close(got.double(), want, rtol=0.05, atol=0.05)
    if can_prepack():
        rounded = attention._in_blocks(query, key, value, None, SIZE**-0.5)
        assert float((rounded.double() - want).abs().max()) > 0.5, "nothing would have been lost"


@pytest.mark.parametrize("n_keys", [NEAR, NEAR + 1])
def test_what_comes_out_has_the_dtype_of_the_query_and_its_precision(n_keys: int) -> None:
    query, key, value = (each.bfloat16() for each in drawn(2, (6, 2), 4, n_keys))
    mask = causal(4, n_keys).expand(2, -1, -1, -1)
    want, got = by_formula(query, key, value, mask, SIZE**-0.5), attend(query, key, value, mask, None)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), want, rtol=0.02, atol=0.02)
