"""Rows T9 and T10: data and settings from which no run can be made are refused before training, with the reason."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.engine.catalog import ModelEntry
from llm_app.errors import UserError
from llm_app.jobs.train_plan import plan
from llm_app.training.config import TrainConfig
from llm_app.training.encode import Encoded, check_trainable

CONFIG = TrainConfig(precision="fp32", max_length=32, validation=0.0, test=0.0)
GOOD = {"prompt": "what is it", "completion": " a fox"}


def refusal(model: Path, data: Path, settings: Settings, config: TrainConfig = CONFIG) -> UserError:
    entry = ModelEntry(str(model), "folder", model, model.name)
    with pytest.raises(UserError) as caught:
        plan(entry, [DatasetSpec(str(data))], config, settings, benchmarks=())
    return caught.value


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def conversation(answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": answer, **more}]}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([GOOD], "There is 1 example to train on; it takes at least 2"),
        ([GOOD, "{broken", "{too"], "There is 1 example to train on.* 2 rows are left out; line 2 of data.jsonl: "),
        ([{"prompt": "q", "completion": " the quick fox" * 99}] * 3, "All 3 examples are longer than .* 32 tokens"),
        ([{"prompt": "the quick fox " * 99, "completion": " a"}] * 3, "All 3 examples are longer than .* 32 tokens"),
        ([conversation("b", weight=0)] * 3, "There is no example to train on.* 3 rows are left out; .* weight 0"),
    ],
    ids=["one row", "one good row", "long answers", "long questions", "masked"],
)
def test_T9_data_that_teaches_nothing_is_refused_with_the_counts(
    rows: list[Any], told: str, tiny_llama: Path, tmp_path: Path, settings: Settings
) -> None:
    error = refusal(tiny_llama, written(tmp_path, *rows), settings)
    assert re.search(told, error.message), error.message
    assert error.param in ("data", "max_length")


def test_T9_a_file_without_rows_is_refused(tiny_llama: Path, tmp_path: Path, settings: Settings) -> None:
    assert "data.jsonl" in refusal(tiny_llama, written(tmp_path), settings).message


def test_T9_a_missing_target_column_is_named(tiny_llama: Path, tmp_path: Path, settings: Settings) -> None:
    data = written(tmp_path, {"prompt": "a", "label": 1}, {"prompt": "b", "label": 2})
    message = refusal(tiny_llama, data, settings).message
    assert "2 rows are left out; line 1 of data.jsonl: " in message
    assert "say which columns hold question and answer" in message


def test_T9_examples_that_are_cut_before_their_answer_are_counted() -> None:
    whole, cut = Encoded([1, 2], [False, False]), Encoded([1, 2], [False, False], n_cut=5)
    with pytest.raises(UserError, match="None of the 3 examples .* 2 are cut off before their answer"):
        check_trainable([whole, cut, cut], 2)
    check_trainable([whole, Encoded([1, 2], [False, True])], 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rank", 0), ("alpha", 0.0), ("learning_rate", 0.0), ("learning_rate", -1.0), ("learning_rate", math.nan),
        ("learning_rate", math.inf), ("epochs", 0.0), ("epochs", 1e9), ("max_steps", 0), ("batch_size", 0),
        ("dropout", 1.0), ("seed", -1),
    ],
)  # fmt: skip
def test_T10_a_setting_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(UserError) as caught:
        replace(CONFIG, **{field: value})
    assert caught.value.param == field
    assert caught.value.message.startswith(f"{field} must be ")


def test_T10_a_target_that_the_model_lacks_is_refused_with_those_it_has(
    tiny_llama: Path, tmp_path: Path, settings: Settings
) -> None:
    data = written(tmp_path, GOOD, GOOD | {"prompt": "who is it"})
    error = refusal(tiny_llama, data, settings, replace(CONFIG, targets=("q_proj", "query_key_value")))
    assert error.param == "targets"
    assert "query_key_value" in error.message and "q_proj" in error.message
