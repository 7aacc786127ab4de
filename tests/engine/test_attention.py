"""Attention against its formula in float64."""

import pytest
import torch
from torch import Tensor

from llm_app.engine.attention import MANY_ROWS, NEAR, attend, attend_causally

SIZE, VALUE_SIZE = 16, 24


def by_formula(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    group = query.shape[1] // key.shape[1]
    query, key, value = query.double(), *(each.double().repeat_interleave(group, 1) for each in (key, value))
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) * scale
    if mask is not None:
        scores = scores + torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, -torch.inf)
    return torch.einsum("bhqk,bhkd->bhqd", scores.exp() / scores.exp().sum(-1, keepdim=True), value)


def drawn(n_rows: int, heads: tuple[int, int], n_new: int, n_keys: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(n_keys)
    shapes = (heads[0], n_new, SIZE), (heads[1], n_keys, SIZE), (heads[1], n_keys, VALUE_SIZE)
    query, key, value = (torch.randn(n_rows, *shape) for shape in shapes)
    # Not contiguous, as a projection's heads are not.
    return query.transpose(1, 2).contiguous().transpose(1, 2), key, value


@pytest.mark.parametrize("n_keys", [NEAR - 1, NEAR, NEAR + 1, 150])
@pytest.mark.parametrize("heads", [(6, 2), (4, 4)])
@pytest.mark.parametrize("n_new", [1, 5])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_each_way_is_the_formula(n_keys: int, heads: tuple[int, int], n_new: int, scale: float | None) -> None:
    query, key, value = drawn(3, heads, n_new, n_keys)
    mask = torch.rand(3, 1, n_new, n_keys) > 0.5
    mask[..., 0] = True
    kept = [each.clone() for each in (query, key, value, mask)]
    want = by_formula(query, key, value, mask, SIZE**-0.5 if scale is None else scale)
    torch.testing.assert_close(attend(query, key, value, mask, scale).double(), want, rtol=1e-5, atol=1e-5)
    assert all(map(torch.equal, (query, key, value, mask), kept)), "it changed what it was given"


@pytest.mark.parametrize("n_rows", [MANY_ROWS - 1, MANY_ROWS])
def test_one_token_of_each_of_many_rows_is_the_formula(n_rows: int) -> None:
    query, key, value = drawn(n_rows, (6, 2), 1, 90)
    mask = torch.rand(n_rows, 1, 1, 90) > 0.5
    mask[..., 0] = True
    # What the rows hold stands in a longer store.
    beyond = [torch.full((n_rows, 2, 38, each.shape[3]), torch.nan) for each in (key, value)]
    key, value = (torch.cat(parts, 2)[:, :, :90] for parts in zip((key, value), beyond, strict=True))
    want = by_formula(query, key, value, mask, SIZE**-0.5)
    torch.testing.assert_close(attend(query, key, value, mask, None).double(), want, rtol=1e-5, atol=1e-5)
    short = [each.bfloat16() for each in (query, key, value)]
    torch.testing.assert_close(attend(*short, mask, None).double(), want, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("n_keys", [7, 150])
def test_without_a_mask_all_keys_are_seen_and_causally_those_before(n_keys: int) -> None:
    query, key, value = drawn(2, (6, 2), n_keys, n_keys)
    want = by_formula(query, key, value, None, SIZE**-0.5)
    torch.testing.assert_close(attend(query, key, value, None, None).double(), want, rtol=1e-5, atol=1e-5)
    want = by_formula(query, key, value, torch.ones(1, 1, n_keys, n_keys).tril().bool(), SIZE**-0.5)
    torch.testing.assert_close(attend_causally(query, key, value, None).double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_keys", [NEAR, NEAR + 1])
def test_what_comes_out_has_the_dtype_of_the_query_and_its_precision(n_keys: int) -> None:
    query, key, value = (each.bfloat16() for each in drawn(2, (6, 2), 4, n_keys))
    mask = torch.ones(2, 1, 4, n_keys, dtype=torch.bool)
    want, got = by_formula(query, key, value, mask, SIZE**-0.5), attend(query, key, value, mask, None)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), want, rtol=0.02, atol=0.02)
