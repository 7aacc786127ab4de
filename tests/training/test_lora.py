"""The LoRA layers hold what peft's hold. Oracle throughout: peft.get_peft_model on the same weights."""

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

from llm_app.errors import UserError
from llm_app.training.product import Dropout, kept
from tests import tiny
from tests.training.tiny_run import set_lora, some_examples, tiny_base, tiny_config, tiny_trainer

KINDS = {"lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}}


def through_peft(folder, config, targets="all-linear"):
    torch.manual_seed(config.seed)
    return get_peft_model(
        tiny.load_plain(folder),
        LoraConfig(
            r=config.rank, lora_alpha=config.alpha, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM",
            use_rslora=config.use_rslora, use_dora=config.use_dora, fan_in_fan_out="gpt2" in folder.name,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
def test_the_same_seed_starts_from_the_same_matrices_under_the_same_names_as_peft(family, request, tmp_path):
    folder, config = request.getfixturevalue(family), tiny_config(seed=3)
    ours = tiny_trainer(folder, config, tmp_path).adapter_state()
    theirs = get_peft_model_state_dict(through_peft(folder, config))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_qwen2", "tiny_gpt2"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_equal_those_of_peft(kind, family, request, tmp_path):
    folder, config = request.getfixturevalue(family), tiny_config(**KINDS[kind])
    example = some_examples(1)[0]
    trainer = tiny_trainer(folder, config, tmp_path)
    set_lora(trainer)
    trainer.learner.trains(True)
    loss = trainer.learner.loss([example], 0)
    loss.backward()

    model = through_peft(folder, config)
    set_peft_model_state_dict(model, trainer.adapter_state())
    model.eval()  # the tiny GPT-2 has dropout of its own
    trainer.learner.trains(False)
    ids = torch.tensor([example.ids])
    labels = torch.where(torch.tensor([example.trained]), ids, -100)
    expected = model(input_ids=ids, labels=labels).loss * sum(example.trained[1:])
    expected.backward()
    if family != "tiny_gpt2":
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        theirs = {
            name.replace(".default", "").removesuffix(".weight"): parameter.grad
            for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        for name, parameter in trainer.learner.lora.parameters():
            wanted = theirs[name.removesuffix(".weight")]
            torch.testing.assert_close(parameter.grad, wanted, rtol=2e-4, atol=2e-5 * float(wanted.abs().max()))
    assert trainer.learner.loss([example], 0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_named_targets_alone_are_trained(tiny_llama, tmp_path):
    trainer = tiny_trainer(tiny_llama, tiny_config(targets=("q_proj", "v_proj")), tmp_path)
    assert trainer.learner.lora.targets == ("q_proj", "v_proj")
    assert {name.split(".")[-3] for name in trainer.adapter_state()} == {"q_proj", "v_proj"}


def test_the_output_layer_can_be_a_target_where_it_is_tied(tiny_qwen2, tmp_path):
    config = tiny_config(targets=("lm_head",))
    trainer = tiny_trainer(tiny_qwen2, config, tmp_path, examples=some_examples(8))  # all of them in each step
    losses = [event.loss for event in trainer.run()]
    assert losses[-1] < losses[0]


def test_T10_a_target_that_is_no_layer_is_refused_by_name(tiny_llama, tmp_path):
    with pytest.raises(UserError, match=r"targets names no_proj, .*q_proj") as caught:
        tiny_trainer(tiny_llama, tiny_config(targets=("q_proj", "no_proj")), tmp_path)
    assert caught.value.param == "targets"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.05, 0.25, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share, dtype):
    drop, x = Dropout(share, 5), torch.randn(401, 503).to(dtype)
    dropped = kept(x, drop.draw(x))
    assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.01)
    assert torch.equal(dropped[dropped != 0], x[dropped != 0])
    assert drop.growth == pytest.approx(1 / (1 - share), rel=1e-3)


def test_the_gradient_under_dropout_is_that_of_the_same_masks(tiny_llama, tmp_path):
    """Oracle: differences of the loss itself, with the seed of the pass held."""
    trainer = tiny_trainer(tiny_llama, tiny_config(dropout=0.3), tmp_path)
    set_lora(trainer)
    examples = some_examples(3)
    trainer.learner.trains(True)
    trainer.learner.loss(examples, 11).backward()
    layer = trainer.learner.lora.layers["model.layers.1.mlp.up_proj"]
    for parameter in (layer.lora_A, layer.lora_B):
        direction = parameter.grad / parameter.grad.norm()
        expected = float((parameter.grad * direction).sum())
        values = []
        with torch.no_grad():
            for sign in (1, -1):
                parameter.add_(direction, alpha=sign * 1e-2)
                values.append(trainer.learner.loss(examples, 11).item())
                parameter.add_(direction, alpha=-sign * 1e-2)
        assert (values[0] - values[1]) / 2e-2 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_qlora_computes_what_its_dequantised_weights_say(quantization, tiny_llama, tmp_path):
    """Oracle: bitsandbytes' own dequantisation through torch's linear layer; and nearness to the weights before."""
    from bitsandbytes import functional as bnb

    config = tiny_config(method="qlora", quantization=quantization)
    base = tiny_base(tiny_llama, config, tmp_path)
    trainer = tiny_trainer(tiny_llama, config, tmp_path, examples=some_examples(8))  # all of them in each step
    for name, layer in trainer.learner.lora.layers.items():
        held = base.model.get_submodule(name).weight
        if quantization == "nf4":
            expected = bnb.dequantize_4bit(held.data, held.quant_state).float()
        else:
            expected = bnb.int8_vectorwise_dequant(held.data, held.SCB)
        x = torch.randn(5, layer.frozen.shape[1])
        torch.testing.assert_close(layer(x), x @ expected.T, rtol=1e-4, atol=1e-4)
    losses = [event.loss for event in trainer.run()]
    assert losses[-1] < losses[0]
