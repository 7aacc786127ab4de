"""Examples in one row do not see each other. Oracle: transformers' own loss of each example alone."""

import pytest
import torch

from tests import tiny
from tests.training.tiny_run import set_lora, some_examples, tiny_config, tiny_trainer

FAMILIES = ["tiny_llama", "tiny_qwen2", "tiny_qwen3", "tiny_gemma3", "tiny_gpt2"]


def alone(folder, examples):
    model = tiny.load_plain(folder)
    losses = []
    for example in examples:
        ids = torch.tensor([example.ids])
        labels = torch.where(torch.tensor([example.trained]), ids, -100)
        with torch.no_grad():
            losses.append(model(input_ids=ids, labels=labels).loss.item() * sum(example.trained[1:]))
    return losses


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("packs", [True, False])
def test_the_loss_of_a_pass_is_the_sum_of_what_each_example_gets_alone(family, packs, request, tmp_path):
    folder = request.getfixturevalue(family)
    examples = some_examples(5, longest=60)
    trainer = tiny_trainer(folder, tiny_config(packs=packs), tmp_path)
    assert trainer.learner.is_packing == packs
    with torch.no_grad():
        got = trainer.learner.loss(examples, 0).item()
    assert got == pytest.approx(sum(alone(folder, examples)), rel=1e-5)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gemma3"])
def test_the_gradient_of_an_example_is_the_same_in_company(family, request, tmp_path):
    trainer = tiny_trainer(request.getfixturevalue(family), tiny_config(), tmp_path)
    set_lora(trainer)
    trainer.learner.trains(True)
    examples = some_examples(4)
    together, apart = [], []
    for found, groups in ((together, [examples]), (apart, [[each] for each in examples])):
        for _, parameter in trainer.learner.lora.parameters():
            parameter.grad.zero_()
        for group in groups:
            trainer.learner.loss(group, 0).backward()
        found += [parameter.grad.clone() for _, parameter in trainer.learner.lora.parameters()]
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
