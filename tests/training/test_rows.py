"""Examples in one row do not see each other. Oracle: transformers' own loss of each example alone."""

import pytest
import torch
from transformers import AutoModelForCausalLM, DeepseekV3Config

from llm_app.training.apart import Apart
from llm_app.training.learner import Learner
from tests import tiny
from tests.training.tiny_run import set_lora, some_examples, tiny_base, tiny_config, tiny_trainer

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


def test_values_of_another_size_than_queries_are_packed_and_learned_from(tmp_path):
    folder, tokenizer = tmp_path / "deepseek", tiny.make_tokenizer()
    torch.manual_seed(0)
    config = DeepseekV3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, kv_lora_rank=16, q_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8,
        first_k_dense_replace=2, max_position_embeddings=256, initializer_range=0.15,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    examples = some_examples(8)
    trainer = tiny_trainer(folder, tiny_config(), tmp_path, examples=examples)
    assert trainer.learner.is_packing
    with torch.no_grad():
        got = trainer.learner.loss(examples, 0).item()
    assert got == pytest.approx(sum(alone(folder, examples)), rel=1e-5)
    losses = [step.loss for step in trainer.run()]
    assert losses[-1] < losses[0]


def test_a_model_whose_layers_fail_on_a_row_of_examples_is_trained_padded(tiny_llama, tmp_path):
    config = tiny_config()
    base = tiny_base(tiny_llama, config, tmp_path)

    def fails(module, arguments, named):
        if isinstance(named.get("layout"), Apart):
            raise RuntimeError("view size is not compatible")

    base.model.model.layers[1].self_attn.register_forward_pre_hook(fails, with_kwargs=True)
    learner, examples = Learner(base, config), some_examples(5)
    assert not learner.is_packing
    with torch.no_grad():
        got = learner.loss(examples, 0).item()
    assert got == pytest.approx(sum(alone(tiny_llama, examples)), rel=1e-5)


@pytest.mark.parametrize("packs", [True, False])
def test_dropout_that_a_model_was_made_with_is_off_in_training(packs, tiny_gpt2, tmp_path):
    examples = some_examples(5)
    learner = tiny_trainer(tiny_gpt2, tiny_config(packs=packs), tmp_path).learner
    learner.trains(True)
    assert learner.loss(examples, 0).item() == pytest.approx(sum(alone(tiny_gpt2, examples)), rel=1e-5)
