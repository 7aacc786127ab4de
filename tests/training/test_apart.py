"""Attention of examples that lie side by side. Oracle: softmax attention written out, differentiated by torch."""

import pytest
import torch

from llm_app.training.apart import Apart


def plain(query, key, value, window, scale):
    """(heads, n, size) of one example."""
    group = query.shape[0] // key.shape[0]
    key, value = key.repeat_interleave(group, dim=0), value.repeat_interleave(group, dim=0)
    places = torch.arange(query.shape[1])
    distance = places[:, None] - places
    scores = query @ key.transpose(1, 2) * scale
    seen = (distance >= 0) & (distance < (window or len(places)))
    return (scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value).transpose(0, 1)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize(("size", "value_size"), [(16, 16), (16, 8), (8, 16)])
def test_attention_and_its_gradients_are_those_of_each_example_alone(size, value_size, window):
    torch.manual_seed(0)
    shapes = (4, size), (2, size), (2, value_size)
    inputs = [torch.randn(1, heads, 12, each, dtype=torch.float64, requires_grad=True) for heads, each in shapes]
    parts = zip(*(each[0].split((5, 7), dim=1) for each in inputs), strict=True)
    wanted = torch.cat([plain(*part, window, 0.3) for part in parts])[None]
    got = Apart((5, 7)).attend(*inputs, window, 0.3)
    upstream = torch.randn_like(wanted)
    torch.testing.assert_close(got, wanted)
    pairs = zip(*(torch.autograd.grad(out, inputs, upstream) for out in (got, wanted)), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other)
