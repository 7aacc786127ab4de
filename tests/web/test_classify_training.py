"""The training of a classifier on its card: what it does, its learning curve, and what its scores are worth."""

import re
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from eval.report.plots import colour_class
from llm_app.classify.config import IDLE, METHODS, ClassifierConfig
from llm_app.classify.training.events import Point, Scored
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train_log import Phase, Written, line_of
from llm_app.options import options_of
from llm_app.training.events import Note, Step
from llm_app.web.classify.train_live import TEST, ClassifierTally, scored_table
from llm_app.web.classify.training import build_training
from llm_app.web.html import GONE
from llm_app.web.text import STRINGS


@pytest.fixture
def tally(tmp_path: Path) -> ClassifierTally:
    """Of the training of an LSTM that has told nothing yet."""
    path = tmp_path / "20260101-000000-abcd"
    path.mkdir()
    (path / "spec.json").write_text(
        '{"kind": "classifier", "config": {"method": "lstm"}, "columns": {"kind": "single"}}', encoding="utf-8"
    )
    return ClassifierTally(RunFolder(path))


def test_a_training_shows_its_learning_curve_with_the_test_error_and_the_bars_to_beat(
    tally: ClassifierTally,
) -> None:
    step = Step(4, 8, 0.5, 0.7, 1e-3, 1.0, 100, 10, 0.1, 10**9)
    accuracy = {"accuracy": (0.75, 0.6, 0.85)}
    for told in (
        Point(0, "accuracy", 0.7, 0.5, 0.7, 0.5, 20), step, Point(4, "accuracy", 0.6, 0.7, 0.5, 0.8, 20),
        Scored("majority", "test", 20, {"accuracy": (0.5, 0.3, 0.7)}, "m"), Scored("lstm", "test", 20, accuracy, "l"),
        Written("classifier", 4, True, "mine"),
    ):  # fmt: skip
        tally.add(line_of(told))
    html = tally.body()
    for words in ("training", "validation", "test", "majority label", "baseline", "<b>0.750</b>", "[0.600, 0.850]"):
        assert words in html
    assert html.index("LSTM") < html.index("majority label")
    assert "0.750" in tally.aside() and tally.written is not None and tally.written.name == "mine"
    before = tally.body()
    tally.add(line_of(replace(step, step=2)))  # resumed from an earlier checkpoint: what came after it is forgotten
    assert "0.7 → 0.6" in before and "0.7 → 0.6" not in tally.body()


def test_the_best_step_and_the_test_error_are_those_of_the_weights_that_are_kept(
    tally: ClassifierTally,
) -> None:
    # Equal scores: training keeps the weights of the lower loss, and goes on without gain.
    for step, loss, score in ((0, 0.9, 0.5), (3, 0.6, 0.7), (5, 0.4, 0.7), (8, 0.8, 0.6)):
        tally.add(line_of(Point(step, "accuracy", loss, score, loss, score, 20)))
    tally.add(line_of(Step(8, 8, 2.0, 0.7, 1e-3, 1.0, 100, 10, 0.1, 10**9)))
    tally.add(line_of(Scored("lstm", "test", 20, {"accuracy": (0.75, 0.6, 0.85)}, "l")))
    html = tally.body()
    assert "best 0.7 at step 5" in html
    (drawn,) = re.findall(rf'd="M(\S+) \S+h0" class="marks {colour_class(TEST)}"', html)
    assert float(drawn) == 62.5, "five eighths of the width"


def test_a_training_says_on_its_card_what_it_does_and_what_its_scores_are_worth(tmp_path: Path) -> None:
    spec = '{"kind": "classifier", "config": {"method": "encoder"}, "columns": {"kind": "single"}}'
    (tmp_path / "spec.json").write_text(spec, encoding="utf-8")
    tally = ClassifierTally(RunFolder(tmp_path))
    tally.add(line_of(Phase("baselines")))
    tally.add(line_of(Scored("majority", "test", 4, {"accuracy": (0.5, 0.1, 0.9)}, "m")))
    assert "Learning the baselines" in tally.body() and "正在训练基线" in tally.body()
    tally.add(line_of(Note(0, "few", "Only 4 rows are held back.", "只留出 4 行。")))
    for step in (0, 8):
        tally.add(line_of(Point(step, "accuracy", 0.7 + step, 0.5, 0.7, 0.9, 4, 33)))
        tally.add(line_of(Step(8, 8, 2.0, 0.7, 1e-3, 1.0, 100, 10, 0.1, 10**9)))
    tally.add(line_of(Written("classifier", 8, False)))
    tally.add(line_of(Scored("encoder", "test", 4, {"accuracy": (0.75, 0.6, 0.85)}, "l")))
    html = tally.body()
    of = "Error on 33 training and 4 validation rows"
    for words in (of, "Only 4 rows", "只留出 4 行", "no step beats the start"):
        assert words in html
    assert "Learning the baselines" not in html and "at step 0" not in html
    (drawn,) = re.findall(rf'd="M(\S+) \S+h0" class="marks {colour_class(TEST)}"', html)
    assert float(drawn) == 100.0, "of the last step, whose weights were written"


def test_a_training_of_one_step_draws_no_curve(tmp_path: Path) -> None:
    spec = '{"kind": "classifier", "config": {"method": "tfidf"}, "columns": {"kind": "single"}}'
    (tmp_path / "spec.json").write_text(spec, encoding="utf-8")
    tally = ClassifierTally(RunFolder(tmp_path))
    tally.add(line_of(Step(1, 1, 1.0, 0.5, 0.0, 0.0, 0, 10, 0.1, 10**9)))
    tally.add(line_of(Point(1, "accuracy", 0.6, 0.7, 0.5, 0.8, 20, 40)))
    assert "0.700" in tally.body() and "<figure" not in tally.body() and "step 1" not in tally.body()


def test_a_note_of_a_training_stands_in_its_log_in_both_languages(tmp_path: Path) -> None:
    spec = '{"kind": "classifier", "config": {"method": "lstm"}, "columns": {"kind": "single"}}'
    (tmp_path / "spec.json").write_text(spec, encoding="utf-8")
    tally = ClassifierTally(RunFolder(tmp_path))
    tally.add(line_of(Note(0, "data", "2 rows are left out", "略去 2 行")))
    tally.add({"type": "note", "step": 0, "kind": "data", "text": "as it was written before there was Chinese"})
    html = tally.details()
    assert '<span class="zh" lang="zh">略去 2 行</span>' in html and "2 rows are left out" in html
    assert "as it was written before there was Chinese" in html


def test_scores_of_rows_that_chose_the_weights_are_marked_in_both_languages() -> None:
    figures = {"accuracy": (0.75, 0.6, 0.85)}
    marked, plain = (str(scored_table([Scored("lstm", part, 20, figures, "l")], "lstm", "single"))
                     for part in ("validation", "test"))  # fmt: skip
    assert "flatter" in marked and "得分偏高" in marked
    assert "flatter" not in plain


def test_options_that_a_method_makes_no_use_of_are_out_of_sight_and_what_stood_there_does_not_count() -> None:
    with gr.Blocks():
        training = build_training(ClassifierConfig, "classifier", IDLE)
    names = [field.name for field, _ in options_of(ClassifierConfig)]
    gone = {name for name, shown in zip(names, training.show("tfidf"), strict=True) if GONE in shown["elem_classes"]}
    assert gone == set(IDLE["tfidf"])
    values: dict[str, object] = dict(zip(names, (control.value for control in training.form.controls), strict=True))
    typed = values | {"method": "tfidf", "epochs": "7", "test": 0.2}
    assert training.read(["", "", *typed.values()]).config == ClassifierConfig(method="tfidf", test=0.2)
    typed = values | {"method": "lstm", "epochs": "7", "rank": 8}
    assert training.read(["", "", *typed.values()]).config == ClassifierConfig(method="lstm", epochs=7.0)


def test_methods_say_what_they_cost_and_keep_their_values() -> None:
    with gr.Blocks():
        training = build_training(ClassifierConfig, "classifier", IDLE)
    assert [value for _, value in training.method.choices] == list(METHODS)
    assert "seconds" in STRINGS["train_method_tfidf"][0] and "minutes" in STRINGS["train_method_encoder"][0]
    assert [name.key for name, _ in training.method.choices] == [f"train_method_{value}" for value in METHODS]
