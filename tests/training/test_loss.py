"""The loss that never holds all logits. Oracle: torch's cross_entropy over all of them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from llm_app.training import loss as module
from llm_app.training.lora import LoraLinear, Moment
from tests.training.tiny_run import tiny_config


@pytest.mark.parametrize("is_trained", [False, True])
def test_loss_and_gradients_in_parts_equal_cross_entropy_over_all_logits(is_trained, monkeypatch):
    monkeypatch.setattr(module, "HEAD_ROWS", 7)
    torch.manual_seed(0)
    head = nn.Linear(12, 50, bias=False).requires_grad_(is_trained)
    states, targets = torch.randn(33, 12, requires_grad=True), torch.randint(50, (33,))
    trained = [head.weight] if is_trained else []
    expected = functional.cross_entropy(head(states), targets, reduction="sum") / 5
    wanted = torch.autograd.grad(expected, [states, *trained])
    got = module._HeadLoss.apply(states, targets, head, Moment(), *trained) / 5
    found = torch.autograd.grad(got, [states, *trained])
    assert got.item() == pytest.approx(expected.item(), rel=1e-6)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_each_part_of_the_places_gets_a_mask_of_its_own_under_dropout(monkeypatch):
    monkeypatch.setattr(module, "HEAD_ROWS", 7)
    torch.manual_seed(0)
    moment = Moment(seed=3)
    head = LoraLinear(nn.Linear(12, 50).requires_grad_(False), tiny_config(dropout=0.5), moment, 0).train()
    nn.init.normal_(head.lora_B)
    # Both parts are the same, so only the masks can make their gradients differ.
    states, targets = torch.randn(7, 12).repeat(2, 1).requires_grad_(), torch.randint(50, (7,)).repeat(2)
    loss = module._HeadLoss.apply(states, targets, head, moment, head.lora_A, head.lora_B)
    (found,) = torch.autograd.grad(loss, states)
    assert not torch.allclose(found[:7], found[7:])
    assert moment.part == 0


def test_large_logits_neither_overflow_nor_vanish():
    logits = torch.tensor([[1e4, 0.0, -1e4], [-1e4, 0.0, 1e4]])
    loss = module.cross_entropy(logits, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(1e4)
