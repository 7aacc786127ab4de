"""The plan of a training run says what the run then does.

Oracles: the rows that were written; the trainer's own steps; the weights of the loaded model.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from eval.tasks.rows import rows_of, shipped
from llm_app import __version__
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec, load
from llm_app.engine.catalog import ModelEntry, find_model
from llm_app.errors import UserError
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import RECIPE
from llm_app.jobs.train_forecast import trial
from llm_app.jobs.train_log import line_of
from llm_app.jobs.train_material import split_material
from llm_app.jobs.train_plan import TrainPlan, plan, plan_text, sentences
from llm_app.training.base import load_base
from llm_app.training.config import TrainConfig
from llm_app.training.events import Step
from llm_app.training.need import max_length, need, shape_of
from llm_app.training.preference import PreferenceTrainer
from llm_app.training.trainer import Trainer

CONFIG = TrainConfig(
    precision="fp32", rank=4, batch_size=2, accumulation=2, max_length=64, validation=0.0, test=0.0, epochs=2.0
)
ROWS = [{"prompt": f"what is {number} and one", "completion": f" it is {number + 1}"} for number in range(9)]


def entry_of(path: Path) -> ModelEntry:
    return ModelEntry(str(path), "folder", path, path.name)


def dataset(folder: Path, rows: Sequence[Any]) -> list[DatasetSpec]:
    path = folder / "data.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return [DatasetSpec(str(path))]


def planned(model: Path, folder: Path, settings: Settings, rows: Sequence[Any], **options: Any) -> TrainPlan:
    return plan(entry_of(model), dataset(folder, rows), replace(CONFIG, **options), settings, benchmarks=())


PAIRS = [{"prompt": f"what? {n} ", "chosen": f"two {n}", "rejected": "three " * n} for n in range(7)]
TEXTS = [{"text": "the quick brown fox jumps over the lazy dog " * number} for number in (1, 2, 9, 17)]


@pytest.mark.parametrize(
    ("rows", "options"),
    [(ROWS, {}), (TEXTS, {"max_length": 32}), ([*PAIRS, PAIRS[0] | {"prompt": "what? " * 100}], {"objective": "dpo"})],
    ids=["prompt and completion", "long texts", "pairs"],
)
def test_the_run_takes_the_steps_and_tokens_of_its_plan(
    rows: list[Any], options: dict[str, Any], tiny_llama: Path, tmp_path: Path, settings: Settings
) -> None:
    made = planned(tiny_llama, tmp_path, settings, rows, **options)
    config = replace(CONFIG, **options)
    base = load_base(entry_of(tiny_llama), config, settings)
    tokens = split_material(load(dataset(tmp_path, rows), 0), (0.0, 0.0), 0).tokens(base, config)
    trainer = (
        PreferenceTrainer(base, config, tokens.train) if "objective" in options else Trainer(base, config, tokens.train)
    )
    steps = [event for event in trainer.run() if isinstance(event, Step)]
    assert made.n_train == len(tokens.train)
    assert made.n_steps == len(steps)
    assert made.n_tokens == sum(step.n_tokens for step in steps)
    assert made.n_trained_tokens == sum(step.n_trained_tokens for step in steps)
    assert made.max_length == base.max_length(config)
    assert made.n_learned == sum(math.prod(shape) for shape in trainer.learner.weights.shapes)


def test_texts_beyond_the_cut_off_are_told_as_learned_whole(
    tiny_llama: Path, tmp_path: Path, settings: Settings
) -> None:
    made = planned(tiny_llama, tmp_path, settings, TEXTS, max_length=32)
    (told,) = [note.text for note in made.notes if "learned whole" in note.text]
    assert told == (
        "2 texts are longer than 32 tokens and are learned whole: in 8 pieces, which are counted like examples."
    )
    assert (made.n_train, made.audit.n_examples, made.audit.over_long) == (8 + 2, len(TEXTS), ())


def test_the_plan_tells_each_part_and_which_examples_held_back_are_like_trained_ones(
    tiny_llama: Path, tmp_path: Path, settings: Settings
) -> None:
    passage = " the quick brown fox jumps over one lazy dog and then it runs away"
    rows = [{"prompt": f"what is {number}", "completion": passage} for number in range(10)]
    made = planned(tiny_llama, tmp_path, settings, rows, validation=0.2, test=0.1)
    assert (made.n_train, made.n_validation, made.n_test, made.n_alike) == (7, 2, 1, 3)
    english = [text for text, _ in sentences(made)]
    assert english[0].startswith('7 examples to train on, 2 to choose the weights by, 1 held back for "Did it help?"')
    assert "Examples held back that share 13 words in a row with one that is trained on: 3" in english


def test_the_plan_counts_what_is_wrong_with_the_data(tiny_llama: Path, tmp_path: Path, settings: Settings) -> None:
    _, _, question = next(row for row in rows_of(shipped(), None) if row[0] == "smoke_choices")
    rows = [
        *ROWS,
        ROWS[3],
        {"prompt": "what is empty", "completion": " ..."},
        {"prompt": "what is long", "completion": " the quick brown fox" * 60},
        {"prompt": question[0], "completion": " I have seen it"},
        "{broken",
    ]
    made = plan(entry_of(tiny_llama), dataset(tmp_path, rows), replace(CONFIG, max_length=200), settings)
    assert [(made.origins[again].line, made.origins[first].line) for again, first in made.audit.duplicates] == [(10, 4)]
    assert [made.origins[number].line for number in made.audit.empty] == [11]
    assert [made.origins[number].line for number in made.audit.over_long] == [12]
    assert [(leak.origin.line, leak.benchmark, leak.sample) for leak in made.audit.leaks] == [(13, "smoke_choices", 0)]
    assert [row.origin.line for row in made.bad_rows] == [14]
    assert {"smoke_choices", "smoke_answers", "smoke_text"} <= made.audit.checked.keys()


def test_three_examples_are_shown_as_the_model_sees_them(tiny_llama: Path, tmp_path: Path, settings: Settings) -> None:
    turns = [{"role": "user", "content": "what?"}, {"role": "assistant", "content": "two"}]
    made = planned(tiny_llama, tmp_path, settings, [{"messages": turns}] * 4)
    header = "<|im_start|>user\nwhat?<|im_end|>\n<|im_start|>assistant\n"
    assert [shown.spans for shown in made.shown] == [((header, False), ("two<|im_end|>", True))] * 3
    assert f"{header}⟦two<|im_end|>⟧" in plan_text(made)


def test_of_a_pair_both_answers_are_counted_and_shown(tiny_llama: Path, tmp_path: Path, settings: Settings) -> None:
    pair, single = {"prompt": "what? ", "chosen": "two", "rejected": "three"}, {"prompt": "what? ", "completion": "two"}
    cut = pair | {"prompt": "what? " * 100}
    made = planned(tiny_llama, tmp_path, settings, [pair, pair, single, cut], objective="dpo")
    assert "".join(text for text, _ in made.shown[0].spans).count("what?") == 2
    trained = [text.strip() for text, is_trained in made.shown[0].spans if is_trained]
    assert trained == ["two<|im_end|>", "three<|im_end|>"]
    assert [row.origin.line for row in made.bad_rows] == [3, 4]
    assert "its two answers are the same" in made.bad_rows[1].reason
    assert "两个回答相同" in made.bad_rows[1].reason_zh
    assert next(sentences(made))[0].startswith("2 pairs to train on")


def test_settings_that_are_not_the_defaults_are_named(tiny_llama: Path, tmp_path: Path, settings: Settings) -> None:
    changed = {each.name: (each.value, each.default) for each in planned(tiny_llama, tmp_path, settings, ROWS).settings}
    assert changed == {
        name: (value, asdict(TrainConfig())[name])
        for name, value in asdict(CONFIG).items() if value != asdict(TrainConfig())[name]
    }


def test_a_row_that_the_template_refuses_is_listed_with_its_words(
    tiny_llama: Path, tmp_path: Path, settings: Settings
) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    calling = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    told = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    made = planned(tiny_llama, tmp_path, settings, [{"messages": turns} for turns in (told, calling, told)])
    assert [row.origin.line for row in made.bad_rows] == [2]
    assert "no place for an answer that calls a tool" in made.bad_rows[0].reason
    assert "对话模板不接受这个样本" in made.bad_rows[0].reason_zh
    assert made.n_train == 2


def test_time_and_memory_come_from_the_newest_run_of_the_same_shape(
    tiny_llama: Path, tmp_path: Path, settings: Settings
) -> None:
    unknown = planned(tiny_llama, tmp_path, settings, ROWS).forecast
    assert (unknown.basis, unknown.seconds) == ("formula", None)
    store, ids = RunStore.of(settings), {}
    for seconds, rank, recipe in ((2.0, 4, RECIPE), (1.0, 4, RECIPE), (9.0, 8, RECIPE), (9.0, 4, RECIPE - 1)):
        config = replace(CONFIG, rank=rank, epochs=7.0)
        spec = {
            "kind": "train", "model": {"name": str(tiny_llama)}, "config": asdict(config), "program": __version__,
            "recipe": recipe,
        }
        folder = store.create(spec)
        steps = [Step(step, 3, 0.0, 1.0, 1e-4, 1.0, 100, 50, seconds, 5_000 * step) for step in (1, 2, 3)]
        with folder:
            folder.append([line_of(step) for step in steps])
        ids[rank, recipe] = folder.id
    made = planned(tiny_llama, tmp_path, settings, ROWS)
    assert (made.forecast.basis, made.forecast.run, made.forecast.tokens_per_second) == ("run", ids[4, RECIPE], 100.0)
    low, high = made.forecast.seconds
    assert low < made.n_tokens / 100.0 < high
    assert made.forecast.memory_bytes[0] == 15_000


def test_a_plan_has_all_its_sentences_in_both_languages(tiny_llama: Path, tmp_path: Path, settings: Settings) -> None:
    rows = [*ROWS, ROWS[0], {"prompt": "a", "completion": " b" * 200}]
    for english, chinese in sentences(planned(tiny_llama, tmp_path, settings, rows)):
        assert english.isascii() and not chinese.isascii()


def test_an_unknown_benchmark_is_named(tiny_llama: Path, tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(UserError, match="There is no task choicez"):
        plan(entry_of(tiny_llama), dataset(tmp_path, ROWS), CONFIG, settings, benchmarks=["choicez"])


@pytest.mark.parametrize("fixture", ["tiny_llama", "tiny_qwen2"], ids=["head of its own", "tied"])
def test_the_shape_of_a_model_is_that_of_its_loaded_weights(fixture: str, request: pytest.FixtureRequest) -> None:
    from transformers import AutoConfig

    from tests import tiny

    folder = request.getfixturevalue(fixture)
    model = tiny.load_plain(folder)
    shape = shape_of(AutoConfig.from_pretrained(folder), replace(CONFIG, method="full"))
    assert shape.n_linear + shape.n_other == shape.n_learned == sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize("more", [{"batch_size": 8}, {"rank": 64}, {"precision": "fp32"}, {"method": "full"}])
def test_more_of_anything_needs_more_memory(more: dict[str, Any], tiny_llama: Path, tmp_path: Path) -> None:
    from llm_app.engine.sources import open_source
    from llm_app.training.encode import Encoded

    source = open_source(entry_of(tiny_llama))
    examples = [Encoded(list(range(400)), [True] * 400)] * 10
    config = replace(CONFIG, precision="bf16")
    less, greater = (need(source, each, examples) for each in (config, replace(config, **more)))
    assert less is not None and greater is not None
    assert less.low < less.high
    assert greater.low > less.low
    assert need(source, replace(config, checkpoints_gradients=True), examples).low < less.low
    assert max_length(source, replace(config, max_length=100_000)) == 512


@pytest.mark.verify
@pytest.mark.timeout(300)
@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_the_memory_of_a_real_run_lies_in_the_range_of_the_formula(
    objective: str, tmp_path: Path, settings: Settings
) -> None:
    entry = find_model("embedded", settings)
    answers = [f" {number}" * (40 if objective == "dpo" else 120) for number in range(100, 112)]
    rows = [{"prompt": "Count.", "completion": answer} for answer in answers]
    if objective == "dpo":
        rows = [{"prompt": "Count.", "chosen": answer, "rejected": answer[::-1]} for answer in answers]
    data = dataset(tmp_path, rows)
    config = TrainConfig(accumulation=1, objective=objective)
    formula = plan(entry, data, config, settings, benchmarks=()).forecast
    measured = trial(entry.name, data, config, settings)
    assert formula.basis == "formula" and formula.memory_bytes is not None and measured is not None
    assert formula.memory_bytes[0] < measured.memory_bytes < formula.memory_bytes[1]
