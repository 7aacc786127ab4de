"""The loop: what it yields, how it is saved, and that neither cutting nor sharing the work changes the result."""

import math

import pytest
import torch

from llm_app.training.events import Note, Step, Validation
from tests.training.tiny_run import some_examples, tiny_config, tiny_trainer


def losses_of(trainer):
    return [event.loss for event in trainer.run() if isinstance(event, Step)]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one | other)


def test_a_run_yields_every_step_and_validates_before_between_and_at_the_end(tiny_llama, tmp_path):
    trainer = tiny_trainer(tiny_llama, tiny_config(max_steps=7), tmp_path, n_validation=4)
    events = list(trainer.run())
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2, 3, 4, 5, 6, 7]
    validations = [event for event in events if isinstance(event, Validation)]
    assert [event.step for event in validations] == [0, 3, 6, 7]
    assert validations[-1].loss < validations[0].loss
    assert trainer.best_step == min(validations, key=lambda event: event.loss).step


def test_T15_the_same_seed_gives_the_same_adapter_and_another_seed_another(tiny_llama, tmp_path):
    adapters = []
    for seed in (1, 1, 2):
        trainer = tiny_trainer(tiny_llama, tiny_config(seed=seed, dropout=0.2, neftune=5.0), tmp_path)
        list(trainer.run())
        adapters.append(trainer.adapter_state())
    assert same(adapters[0], adapters[1])
    assert not same(adapters[0], adapters[2])


@pytest.mark.parametrize("n_done", [0, 1, 3, 4])
def test_a_restored_run_goes_on_bit_equal(n_done, tiny_llama, tmp_path):
    config = tiny_config(dropout=0.2, neftune=5.0, weight_decay=0.1, patience=9)
    whole = tiny_trainer(tiny_llama, config, tmp_path, n_validation=4)
    first = tiny_trainer(tiny_llama, config, tmp_path, n_validation=4)
    second = tiny_trainer(tiny_llama, config, tmp_path, n_validation=4)
    expected = list(whole.run())
    seen = []
    for event in first.run() if n_done else ():
        seen.append(event)
        if isinstance(event, Step) and event.step == n_done:
            break  # before the validation that may be due now
    second.restore(first.state())
    seen += second.run()
    assert same(whole.adapter_state(), second.adapter_state())
    assert [event.loss for event in seen] == [event.loss for event in expected]


def test_a_state_of_other_layers_is_refused(tiny_llama, tmp_path):
    state = tiny_trainer(tiny_llama, tiny_config(targets=("q_proj",)), tmp_path).state()
    with pytest.raises(Exception, match="of another model or of other trained layers"):
        tiny_trainer(tiny_llama, tiny_config(), tmp_path).restore(state)


def test_how_a_step_is_cut_into_passes_does_not_change_it(tiny_llama, tmp_path):
    curves = []
    for batch_size, accumulation in ((8, 1), (4, 2), (1, 8)):
        config = tiny_config(batch_size=batch_size, accumulation=accumulation)
        curves.append(losses_of(tiny_trainer(tiny_llama, config, tmp_path)))
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)
    assert curves[2] == pytest.approx(curves[0], rel=1e-5)


@pytest.mark.parametrize("changes", [{"packs": False}, {"checkpoints_gradients": True}])
def test_padding_and_gradient_checkpointing_change_memory_not_the_result(changes, tiny_llama, tmp_path):
    expected = losses_of(tiny_trainer(tiny_llama, tiny_config(), tmp_path))
    assert losses_of(tiny_trainer(tiny_llama, tiny_config(**changes), tmp_path)) == pytest.approx(expected, rel=1e-5)


def test_gradient_checkpointing_draws_the_same_masks_a_second_time(tiny_llama, tmp_path):
    config = tiny_config(dropout=0.3, neftune=5.0)
    expected = losses_of(tiny_trainer(tiny_llama, config, tmp_path))
    again = tiny_config(dropout=0.3, neftune=5.0, checkpoints_gradients=True)
    assert losses_of(tiny_trainer(tiny_llama, again, tmp_path)) == pytest.approx(expected, rel=1e-5)


def test_early_stopping_ends_the_run_and_says_which_step_was_best(tiny_llama, tmp_path):
    config = tiny_config(max_steps=40, validate_every=1, patience=3, learning_rate=0.05)
    trainer = tiny_trainer(tiny_llama, config, tmp_path, n_validation=4)
    events = list(trainer.run())
    assert isinstance(events[-1], Note) and events[-1].kind == "stopped_early"
    assert f"step {trainer.best_step}." in events[-1].text
    validations = [event.loss for event in events if isinstance(event, Validation)]
    assert len(validations) < 40
    assert min(validations[-3:]) >= min(validations[:-3])


def test_stop_ends_before_another_step(tiny_llama, tmp_path):
    trainer = tiny_trainer(tiny_llama, tiny_config(), tmp_path)
    seen = []
    for event in trainer.run():
        seen.append(event)
        if event.step == 2:
            trainer.stop()
    assert trainer.step == 2 and len(seen) == 2


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_qwen2"])
def test_full_training_moves_all_weights_tied_ones_once(family, request, tmp_path):
    config = tiny_config(method="full", learning_rate=1e-2, max_steps=8)
    trainer = tiny_trainer(request.getfixturevalue(family), config, tmp_path)
    before = trainer.adapter_state()
    losses = losses_of(trainer)
    after = trainer.adapter_state()
    assert losses[-1] < losses[0]
    assert all(not torch.equal(before[name], after[name]) for name in before if "k_proj.bias" not in name)
    assert ("lm_head.weight" in after) == (family == "tiny_llama")


def test_weights_trained_in_bfloat16_stay_float32(tiny_llama, tmp_path):
    for method in ("lora", "full"):
        trainer = tiny_trainer(tiny_llama, tiny_config(method=method, precision="bf16", max_steps=2), tmp_path)
        losses = losses_of(trainer)
        assert all(tensor.dtype == torch.float32 for tensor in trainer.adapter_state().values())
        exact = losses_of(tiny_trainer(tiny_llama, tiny_config(method=method, max_steps=2), tmp_path))
        assert losses == pytest.approx(exact, rel=0.03)


def test_a_gguf_file_is_trained_like_the_folder_that_it_came_from(tiny_llama, tmp_path):
    from tests import tiny

    file = tiny.make_gguf(tiny_llama, tmp_path / "tiny.gguf", kind="F32")
    expected = losses_of(tiny_trainer(tiny_llama, tiny_config(), tmp_path))
    assert losses_of(tiny_trainer(file, tiny_config(), tmp_path)) == pytest.approx(expected, rel=1e-5)


def test_samples_are_the_greedy_replies_of_the_model(tiny_llama, tmp_path):
    """Oracle: transformers' generate on the same weights, one prompt at a time."""
    from llm_app.training.samples import SamplePrompt
    from llm_app.training.trainer import Trainer
    from tests import tiny
    from tests.training.tiny_run import tiny_base

    config = tiny_config(max_steps=1)
    base = tiny_base(tiny_llama, config, tmp_path)
    texts = ("the quick", "what is the answer")
    prompts = [SamplePrompt(text, tuple(base.tokenizer(text).input_ids), "?") for text in texts]
    trainer = Trainer(base, config, some_examples(4), some_examples(2), sample_prompts=prompts)
    first = next(trainer.run())
    model = tiny.load_plain(tiny_llama)
    for prompt, (text, expected, reply) in zip(prompts, first.samples, strict=True):
        output = model.generate(torch.tensor([prompt.ids]), max_new_tokens=48, do_sample=False)[0, len(prompt.ids) :]
        wanted = base.tokenizer.decode(output, skip_special_tokens=True).strip()
        assert (text, expected, reply) == (prompt.text, "?", wanted)


def test_the_loss_is_a_mean_over_the_trained_tokens_of_the_whole_step(tiny_llama, tmp_path):
    """Oracle: the validation of the same eight examples before the step."""
    examples = some_examples(8, seed=4)
    config = tiny_config(max_steps=1, batch_size=1, accumulation=8)
    trainer = tiny_trainer(tiny_llama, config, tmp_path, examples=examples)
    trainer._validation = examples
    before, step, *_ = trainer.run()
    assert step.loss == pytest.approx(before.loss, rel=1e-6)
    assert step.n_trained_tokens == before.n_trained_tokens == sum(sum(each.trained[1:]) for each in examples)
    assert math.isfinite(step.gradient_norm) and step.memory_bytes > 1e6
