"""Preference tuning: TRL's loss in our loop, which stops, resumes and saves as any other training."""

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from trl import DPOConfig, DPOTrainer

from llm_app.data.types import Example, Origin, Turn
from llm_app.errors import UserError
from llm_app.training.adapter_folder import Tuned, write
from llm_app.training.config import DPO_RATE, TrainConfig
from llm_app.training.events import Note, Step, Validation
from llm_app.training.model_card import Figures
from llm_app.training.pairs import Pair, encode_pair
from llm_app.training.preference import PreferenceTrainer
from tests import tiny
from tests.training.tiny_run import tiny_base, tiny_config

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def example(question: str, better: str, worse: str, line: int = 1) -> Example:
    turns = (
        Turn("system", "You are kind."), Turn("user", "hello"), Turn("assistant", "how are you", is_trained=True),
        Turn("user", question), Turn("assistant", better, is_trained=True),
    )
    return Example(Origin("votes", line), turns=turns, rejected=worse)


def some_examples(n: int = 12) -> list[Example]:
    """The better answer is in capitals, whatever was asked."""
    return [example(f"say {w} {i}", f"YES {w.upper()}", f"no {w}") for i, w in enumerate((WORDS * 3)[:n])]


def pairs_of(examples: list[Example], max_length: int = 256) -> list[Pair]:
    return [encode_pair(each, tiny.make_tokenizer(), max_length=max_length) for each in examples]


def dpo_config(**changes: object) -> TrainConfig:
    fields = {"objective": "dpo", "batch_size": 4, "accumulation": 1, "max_steps": 12, "validate_every": 6}
    return tiny_config(**(fields | changes))


def trainer_of(folder: Path, home: Path, **changes: object) -> PreferenceTrainer:
    config = dpo_config(**changes)
    pairs = pairs_of(some_examples())
    return PreferenceTrainer(tiny_base(folder, config, home), config, pairs[:8], pairs[8:])


def test_before_anything_is_learned_the_loss_is_the_logarithm_of_two(tiny_llama: Path, tmp_path: Path) -> None:
    """Whatever the pairs: both answers are as likely as for the base, so the sigmoid stands at one half."""
    events = list(trainer_of(tiny_llama, tmp_path, max_steps=1).run())
    losses = [event.loss for event in events if isinstance(event, Validation | Step)][:2]
    assert losses == pytest.approx([math.log(2)] * 2, abs=1e-6)


def test_the_margin_between_better_and_worse_answers_rises(tiny_llama: Path, tmp_path: Path) -> None:
    events = list(trainer_of(tiny_llama, tmp_path).run())
    validations = [event for event in events if isinstance(event, Validation)]
    told = [event.text for event in events if isinstance(event, Note) and event.kind == "rewards"]
    assert [event.step for event in validations] == [0, 6, 12]
    assert validations[-1].loss < 0.4 < validations[0].loss
    assert "in 0.0%, by +0.0000 on average" in told[0]
    assert "On 4 held-back pairs: the better answer has the higher reward in 100.0%, by +" in told[-1]


def test_the_loss_is_that_of_the_formula_on_plain_peft(tiny_qwen2: Path, tmp_path: Path) -> None:
    """Rafailov et al. 2023, equation 7, from log-probabilities of transformers and peft alone."""
    trainer = trainer_of(tiny_qwen2, tmp_path, beta=0.3, max_steps=3, validate_every=3)
    loss = [event.loss for event in trainer.run() if isinstance(event, Validation)][-1]
    folder = tmp_path / "adapter"
    figures = Figures((), 8, 4, 3, 0, 0, 0.0)
    write(folder, Tuned(trainer.adapter_state(), trainer.learner.targets), trainer.base, trainer.config, figures)
    base = tiny.load_plain(tiny_qwen2)
    tuned = PeftModel.from_pretrained(tiny.load_plain(tiny_qwen2), folder).eval()
    losses = []
    for pair in pairs_of(some_examples())[8:]:
        better, worse = (
            likelihood(tuned, pair.prompt_ids, ids) - likelihood(base, pair.prompt_ids, ids)
            for ids in (pair.chosen_ids, pair.rejected_ids)
        )
        losses.append(-torch.nn.functional.logsigmoid(0.3 * (better - worse)).item())
    assert loss == pytest.approx(sum(losses) / len(losses), abs=1e-4)
    assert abs(loss - math.log(2)) > 0.01


@torch.no_grad()
def likelihood(model: torch.nn.Module, prompt: list[int], answer: list[int]) -> torch.Tensor:
    logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return logits.gather(1, torch.tensor(answer)[:, None]).sum()


def test_pairs_are_the_tokens_that_trl_makes_of_the_conversation(tiny_llama: Path, tmp_path: Path) -> None:
    """Oracle: DPOTrainer's own preparation; its rows lack only the line break that ChatML puts behind the last turn."""
    from datasets import Dataset

    rows = [
        {
            "prompt": [{"role": turn.role, "content": turn.content} for turn in each.turns[:-1]],
            "chosen": [{"role": "assistant", "content": each.turns[-1].content}],
            "rejected": [{"role": "assistant", "content": each.rejected}],
        }
        for each in some_examples(4)
    ]
    arguments = DPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, report_to="none", max_length=None)
    theirs = DPOTrainer(
        model=tiny.load_plain(tiny_llama), args=arguments, train_dataset=Dataset.from_list(rows),
        processing_class=tiny.make_tokenizer(),
    ).train_dataset
    line_break = tiny.make_tokenizer().encode("\n")
    for ours, row in zip(pairs_of(some_examples(4)), theirs, strict=True):
        assert ours.prompt_ids == row["prompt_ids"]
        assert [*ours.chosen_ids, *line_break] == row["chosen_ids"]
        assert [*ours.rejected_ids, *line_break] == row["rejected_ids"]


def test_plain_texts_are_pairs_too(tmp_path: Path) -> None:
    raw = Example(Origin("file", 1), prompt="hello ", completion="world", rejected="thing")
    pair = encode_pair(raw, tiny.make_tokenizer(), max_length=64)
    decode = tiny.make_tokenizer().decode
    assert (decode(pair.prompt_ids), decode(pair.chosen_ids), decode(pair.rejected_ids)) == (
        "hello ", "world<|im_end|>", "thing<|im_end|>"
    )  # fmt: skip


def test_a_resumed_run_ends_with_the_adapter_of_the_undisturbed_one(tiny_llama: Path, tmp_path: Path) -> None:
    whole = trainer_of(tiny_llama, tmp_path, max_steps=4)
    list(whole.run())
    first = trainer_of(tiny_llama, tmp_path, max_steps=4)
    for event in first.run():
        if isinstance(event, Step) and event.step == 2:
            break
    state = first.state()
    second = trainer_of(tiny_llama, tmp_path, max_steps=4)
    second.restore(state)
    list(second.run())
    ours, theirs = second.adapter_state(), whole.adapter_state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("options", [{"use_dora": True}, {"method": "qlora", "quantization": "int8"}], ids=str)
def test_dora_and_quantized_bases_learn_preferences_too(
    options: dict[str, object], tiny_llama: Path, tmp_path: Path
) -> None:
    trainer = trainer_of(tiny_llama, tmp_path, beta=0.25, **options)
    losses = [event.loss for event in trainer.run() if isinstance(event, Validation)]
    assert losses[-1] < losses[0] - 0.1
    figures = Figures((), 8, 4, 12, 0, 0, 0.0)
    tuned = Tuned(trainer.adapter_state(), trainer.learner.targets)
    write(tmp_path / "adapter", tuned, trainer.base, trainer.config, figures)
    card = (tmp_path / "adapter" / "README.md").read_text(encoding="utf-8")
    assert "preference tuning (DPO)" in card
    assert "| beta | 0.25 |" in card
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["use_dora"] is bool(
        options.get("use_dora")
    )


def test_pairs_with_nothing_to_compare_are_refused_before_training(tiny_llama: Path, tmp_path: Path) -> None:
    config = dpo_config()
    base = tiny_base(tiny_llama, config, tmp_path)
    equal, cut = pairs_of([example("say one", "yes", "yes")]), pairs_of(some_examples(2), max_length=8)
    for pairs in (equal, cut):
        with pytest.raises(UserError, match="None of the . pairs can be learned from"):
            PreferenceTrainer(base, config, pairs)
    with pytest.raises(UserError, match="has no worse answer"):
        encode_pair(Example(Origin("file", 3), completion="text"), tiny.make_tokenizer(), max_length=8)


def test_options_that_preferences_cannot_have_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose method lora or qlora"):
        TrainConfig(method="full", objective="dpo")
    assert TrainConfig(objective="dpo").peak_rate == DPO_RATE
    assert TrainConfig(objective="dpo", learning_rate=1e-3).peak_rate == 1e-3
    with pytest.raises(UserError, match="leave it out"):
        trainer_of(tiny_llama, tmp_path, targets=("lm_head",))
    with pytest.raises(UserError, match="nothing_proj"):
        trainer_of(tiny_llama, tmp_path, targets=("nothing_proj",))
