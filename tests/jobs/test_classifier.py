"""Training a classifier as a run: its folder, its baselines, stop, kill and resume, and what is left in the end."""

import csv
import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest

from llm_app.classify.config import LEAST_STEPS, ClassifierConfig
from llm_app.classify.folder import read_note, write_note
from llm_app.classify.learned import n_among, read_learned
from llm_app.classify.open import open_classifier
from llm_app.classify.table import Columns, item_digest
from llm_app.classify.training.events import CHOSEN_BY
from llm_app.classify.types import Item, Kind, Prediction
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.classifier import ClassifierData, resume_classifier, start_classifier
from llm_app.jobs.classifier_material import material_of
from llm_app.jobs.classifier_result import read_predictions
from llm_app.jobs.classifier_steps import train
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import RunStore
from llm_app.jobs.train import Training
from llm_app.jobs.train_child import ProcessLost
from llm_app.jobs.train_in_place import InPlace
from llm_app.jobs.train_log import Phase, TrainLog, read_log
from llm_app.jobs.train_result import weights_digest
from llm_app.training.events import Note, Saved, Step
from tests.classify.learning import rows
from tests.classify.making import make_encoder

LEARNS = {"epochs": 1.0, "batch_size": 8, "learning_rate": 1e-2, "precision": "fp32"}
SMALL = ClassifierConfig(method="lstm", test=0.2, **{**LEARNS, "epochs": 4.0})
TFIDF = ClassifierConfig(method="tfidf", test=0.2)


def table(path: Path, n: int = 60, *, wrong_every: int = 0) -> Path:
    """Texts with one of two labels, with two of them, and with a number. `wrong_every`: so many rows lie."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "labels", "stars"])
        for number, (item, truth) in enumerate(zip(*rows(n), strict=True)):
            if wrong_every and number % wrong_every == 0:
                truth = "positive"
            several = f"{truth};even" if number % 4 < 2 else truth
            writer.writerow([item.text, truth, several, 1 + 4 * (truth == "positive")])
    return path


@pytest.fixture
def data(tmp_path: Path) -> ClassifierData:
    return ClassifierData(DatasetSpec(str(table(tmp_path / "reviews.csv"))), Columns("text", None, "label"))


def in_place(made: Training, settings: Settings) -> Training:
    return Training(made.folder, settings, start=InPlace)


def done(
    data: ClassifierData, settings: Settings, config: ClassifierConfig = SMALL, base: Path | None = None
) -> tuple[RunFolder, TrainLog]:
    """A run in this process, at its end."""
    made = start_classifier(data, config, settings, base=None if base is None else str(base))
    list(in_place(made, settings).run())
    return made.folder, read_log(made.folder)


@pytest.mark.parametrize("method", ["encoder", "lora", "lstm", "tfidf"])
def test_every_method_leaves_a_classifier_that_gives_the_scores_of_the_run(
    method: str, data: ClassifierData, settings: Settings, tmp_path: Path, tiny_qwen2: Path
) -> None:
    base = {"encoder": make_encoder(tmp_path / "base", has_head=False), "lora": tiny_qwen2}.get(method)
    own = {"tfidf": {}, "lora": {**LEARNS, "rank": 2}}.get(method, LEARNS)
    folder, log = done(data, settings, ClassifierConfig(method=method, test=0.2, **own), base)
    assert log.written is not None and log.written.name is not None
    assert {scored.method for scored in log.scored} == {"majority", "tfidf", method}
    trained = next(scored for scored in log.scored if scored.method == method)
    tolerance = 0.02 if method == "lora" else 1e-4  # it was learned over a base in fp32, and is used over one in bf16
    host = Host(settings)
    classifier = open_classifier(log.written.name, host, settings)
    for line, said, _ in read_predictions(folder, trained):
        text = data_line(tmp_path / "reviews.csv", line)
        (again,) = classifier.predict([Item(text)])
        assert isinstance(again, Prediction) and again.scores == pytest.approx(said.scores, abs=tolerance)
    host.unload()


def data_line(path: Path, line: int) -> str:
    with path.open(encoding="utf-8") as file:
        return next(text for number, text in enumerate(file, start=1) if number == line).split(",")[0]


@pytest.mark.parametrize(("kind", "column", "first"), [
    ("single", "label", "accuracy"), ("multi", "labels", "subset_accuracy"), ("regression", "stars", "spearman"),
])
def test_every_kind_of_label_is_scored_beside_both_baselines_on_the_same_rows(
    kind: Kind, column: str, first: str, data: ClassifierData, settings: Settings
) -> None:
    folder, log = done(replace(data, columns=Columns("text", None, column, kind)), settings)
    assert [scored.method for scored in log.scored] == ["majority", "tfidf", "lstm"]
    assert len({tuple(line for line, _, _ in read_predictions(folder, scored)) for scored in log.scored}) == 1
    assert all(scored.part == "test" and scored.n == 12 for scored in log.scored)
    # The mean of all values has no order to be correlated with.
    assert next(iter(log.scored[2].scores)) == next(iter(log.scored[1].scores)) == first
    shown = RunStore.of(settings).read(folder.id)
    assert (shown.kind, shown.status, shown.scores["test"][0]) == ("classifier", "done", first)


def test_all_methods_are_tested_on_the_same_rows(data: ClassifierData, settings: Settings) -> None:
    splits = []
    for config in (replace(SMALL, epochs=0.1), TFIDF):
        _, log = done(data, settings, config)
        assert log.begun is not None
        splits.append(log.begun.split)
    assert splits[0] == splits[1]


def test_the_folder_says_what_was_learned_from_what_and_how_well(data: ClassifierData, settings: Settings) -> None:
    folder, log = done(data, settings)
    file = read_note(folder.path / "classifier")
    assert (file.method, file.kind, file.labels) == ("lstm", "single", ("negative", "positive"))
    assert file.trained["rows"] == {"train": 42, "validation": 6, "test": 12}
    assert file.trained["data"][0]["name"] == "reviews.csv"
    assert file.trained["figures"]["lstm"]["accuracy"][0] == log.scored[-1].scores["accuracy"][0]
    assert file.trained["settings"]["method"] == "lstm"
    rows = material_of(folder.spec(), SMALL)
    seen, unseen = (*rows.train.items, *rows.validation.items), rows.test.items
    learned = read_learned(folder.path / "classifier")
    assert n_among(learned, map(item_digest, seen)) == 48 and n_among(learned, map(item_digest, unseen)) == 0


def test_a_small_table_is_told_what_its_choice_rests_on_and_what_automatic_epochs_came_to(
    data: ClassifierData, settings: Settings
) -> None:
    made = start_classifier(data, replace(SMALL, epochs=None, batch_size=32), settings)
    with made.folder:  # up to its first step
        told = list(itertools.takewhile(lambda event: event != Phase("first"), train(made.folder, settings, id)))
    notes = {event.kind: event for event in told if isinstance(event, Note)}
    assert "Only 6 rows are held back for validation" in notes["few"].text and "6 行" in notes["few"].text_zh
    n_epochs = math.ceil(LEAST_STEPS["lstm"] / math.ceil(42 / 32))
    assert f"Epochs (automatic): {n_epochs}," in notes["epochs"].text and f"{n_epochs}" in notes["epochs"].text_zh


def test_the_temperature_of_a_table_with_wrong_labels_is_stored_and_used(
    data: ClassifierData, settings: Settings
) -> None:
    table(Path(data.rows.path), 200, wrong_every=4)
    folder, _ = done(data, settings, TFIDF)
    place = folder.path / "classifier"
    file, host = read_note(place), Host(settings)
    assert file.temperature != 1.0
    (tempered,) = open_classifier(str(place), host, settings).predict([Item("a great film")])
    write_note(place, replace(file, temperature=1.0))
    (plain,) = open_classifier(str(place), host, settings).predict([Item("a great film")])
    assert isinstance(tempered, Prediction) and isinstance(plain, Prediction)
    logits = [math.log(score[1] / score[0]) for score in (plain.scores, tempered.scores)]
    assert logits[0] / file.temperature == pytest.approx(logits[1])


def test_a_file_of_test_rows_is_scored_and_the_table_is_learned_from_whole(
    data: ClassifierData, settings: Settings, tmp_path: Path
) -> None:
    test = DatasetSpec(str(table(tmp_path / "test.csv", 20)))
    _, log = done(replace(data, test=test), settings, replace(SMALL, validation=0.0, epochs=0.5))
    assert log.begun is not None and (log.begun.n_train, log.begun.n_validation, log.begun.n_test) == (60, 0, 20)
    assert log.scored[-1].n == 20 and log.points == []
    assert any("its scores flatter" in note.text and "其得分偏高" in note.text_zh for note in log.notes)


def test_scores_of_rows_that_chose_the_weights_are_marked(data: ClassifierData, settings: Settings) -> None:
    folder, log = done(data, settings, replace(TFIDF, test=0.0))
    assert {(scored.part, scored.flatters) for scored in log.scored} == {("validation", True)}
    assert read_note(folder.path / "classifier").trained["caution"] == CHOSEN_BY
    kept_apart, _ = done(data, settings, TFIDF)
    assert "caution" not in read_note(kept_apart.path / "classifier").trained


def test_a_test_file_with_an_unknown_label_is_refused_by_name(
    data: ClassifierData, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "test.csv").write_text("text,label\na film,neutral\n", encoding="utf-8")
    made = start_classifier(replace(data, test=DatasetSpec(str(tmp_path / "test.csv"))), SMALL, settings)
    with pytest.raises(UserError, match="'neutral'"):
        list(in_place(made, settings).run())


def test_a_stopped_run_keeps_what_it_learned_and_looks_at_no_test_row(data: ClassifierData, settings: Settings) -> None:
    run = in_place(start_classifier(data, SMALL, settings), settings)
    for event in (events := run.run()):
        if isinstance(event, Step) and event.step == 3:
            events.close()
    log = read_log(run.folder)
    assert log.written is not None and log.steps[-1].step == 3
    assert [scored.method for scored in log.scored] == ["majority", "tfidf"]
    assert open_classifier(str(log.written.name), Host(settings), settings).labels == ("negative", "positive")


def test_a_resumed_run_ends_with_the_very_weights_of_one_that_nobody_stopped(
    data: ClassifierData, settings: Settings
) -> None:
    whole, _ = done(data, settings)
    run = in_place(start_classifier(data, SMALL, settings), settings)
    for event in (events := run.run()):
        if isinstance(event, Step) and event.step == 10:
            events.close()
    list(resume_classifier(run.folder, settings, start=InPlace).run())
    assert weights_digest(run.folder.path / "classifier") == weights_digest(whole.path / "classifier")
    log = read_log(run.folder)
    assert [step.step for step in log.steps] == list(range(1, 25))
    assert read_log(whole).points == log.points and len(log.scored) == 3


def test_a_changed_table_is_not_gone_on_with(data: ClassifierData, settings: Settings) -> None:
    run = in_place(start_classifier(data, SMALL, settings), settings)
    next(run.run())
    table(Path(data.rows.path), 40)
    with pytest.raises(UserError, match=r"differs in: reviews\.csv"):
        resume_classifier(run.folder, settings)


@pytest.mark.parametrize(("wrong", "match"), [
    (Columns("text"), "needs the column that holds the labels"), (Columns("texts", None, "label"), "Is 'text' meant"),
])
def test_a_missing_column_is_named(wrong: Columns, match: str, data: ClassifierData, settings: Settings) -> None:
    with pytest.raises(UserError, match=match):
        done(replace(data, columns=wrong), settings)


def test_rows_without_a_label_are_left_out_only_once_that_is_confirmed(
    data: ClassifierData, settings: Settings
) -> None:
    with Path(data.rows.path).open("a", encoding="utf-8") as file:
        file.write("no label here,,,\n")
    quick = TFIDF
    with pytest.raises(UserError, match="1 rows have no label"):
        done(data, settings, quick)
    _, log = done(replace(data, drops_unlabelled=True), settings, quick)
    assert log.begun is not None and log.begun.n_train + log.begun.n_validation + log.begun.n_test == 60


@pytest.mark.timeout(180)
def test_E1_a_killed_training_of_a_classifier_goes_on_bit_equal(data: ClassifierData, settings: Settings) -> None:
    whole, _ = done(data, settings)
    run = start_classifier(data, SMALL, settings)
    with pytest.raises(ProcessLost, match="killed by the system"):
        for event in run.run():
            if isinstance(event, Saved) and event.step >= 3:
                run.kill()
    assert read_log(run.folder).written is None and not run.folder.is_locked()
    list(resume_classifier(run.folder, settings, start=InPlace).run())
    assert weights_digest(run.folder.path / "classifier") == weights_digest(whole.path / "classifier")
