"""Schedules and the order of the examples."""

import pytest
import torch
from transformers import get_scheduler

from llm_app.training.optim import rate_at
from llm_app.training.order import Order
from tests.training.tiny_run import tiny_config


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_without_warm_up_the_rate_follows_the_schedule_of_transformers(schedule):
    """Oracle: transformers.get_scheduler."""
    config = tiny_config(schedule=schedule, learning_rate=1e-3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    theirs = get_scheduler(schedule, optimizer, num_warmup_steps=0, num_training_steps=17)
    for step in range(17):
        assert rate_at(step, 17, config) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_the_warm_up_rises_to_the_peak_and_no_step_is_wasted():
    rates = [rate_at(step, 20, tiny_config(warmup=0.2, schedule="linear", learning_rate=1.0)) for step in range(20)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert min(rates) > 0


def test_each_epoch_sees_every_example_once_in_another_order():
    order = Order(n_examples=23, n_a_step=4, seed=5)
    epochs = [[i for step in range(6 * e, 6 * e + 6) for i in order.examples(step)] for e in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(23))] * 2
    assert epochs[0] != epochs[1]
    assert order.n_steps(tiny_config(max_steps=None, epochs=2.5)) == 15
