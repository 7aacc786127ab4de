"""A table as a run: streamed, stopped, resumed without asking twice; and the files that come of it."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.crossed import crossed, folds
from llm_app.classify.folder import ClassifierFile, write_note
from llm_app.classify.table import Columns, LabelledTable
from llm_app.classify.types import Classifier, Item, Prediction, Unclassified
from llm_app.config import Settings
from llm_app.data.table import Reading
from llm_app.engine.host import Host
from llm_app.errors import Cancelled, UserError
from llm_app.jobs.classify import SHOWN, Classification, Source, begin, go_on, judged_run, resume, start
from llm_app.jobs.classify_open import Asked, Classifiers, Opened
from llm_app.jobs.classify_sheet import csv_of, scores_of, summary
from llm_app.jobs.store import RunStore
from tests.classify.word_rule import LABELS, WordRule
from tests.running import running

TABLE = (
    "label,text,note\npositive,good good,-1\nnegative,bad,=1+1\npositive,rubbish,007\npositive,bad bad,a\n"
    ",long good,b\nnegative,,c\npositive,one,two,three\n"
)
ASKED = Asked("rule")
Begin = Callable[..., Classification]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "reviews.csv"
    path.write_text(TABLE, encoding="utf-8")
    return Source(path, Columns("text", truth="label"))


@pytest.fixture
def begun(source: Source, settings: Settings) -> Begin:
    def make(classifier: Classifier | None = None, source: Source = source) -> Classification:
        return begin(Opened(classifier or WordRule(), source.read()), ASKED, source, RunStore.of(settings))

    return make


def finished(run: Classification) -> Classification:
    for _ in run.run():
        pass
    return run


def sheet(table: LabelledTable, run: Classification) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_of(table, run.judged()))))


def test_every_row_gets_its_own_outcome_whatever_the_order_they_come_in(begun: Begin) -> None:
    run = finished(begun())
    found = {row.cells["text"]: run.outcomes[place] for place, row in enumerate(run.table.rows)}
    assert isinstance(found["good good"], Prediction) and found["good good"].scores == pytest.approx((0.25, 0.75))
    assert isinstance(found["bad"], Prediction) and found["bad"].scores == pytest.approx((2 / 3, 1 / 3))


def test_a_run_knows_how_far_it_is_and_what_it_came_to(begun: Begin, settings: Settings) -> None:
    run = finished(begun())
    (listed,) = RunStore.of(settings).page()
    assert (listed.status, listed.kind, listed.model) == ("done", "classify", "rule")
    assert (listed.n_done, listed.n_total) == (5, 5)
    assert listed.scores == {"reviews.csv": ("accuracy", pytest.approx(2 / 3))}
    assert run.judged().n_unclassified == 1 and run.judged().n_unlabelled == 1


def test_cancel_keeps_what_is_done_and_resume_asks_only_the_rest(begun: Begin, settings: Settings) -> None:
    whole = finished(begun())
    run = begun()
    steps = run.run()
    next(steps), next(steps)
    steps.close()
    assert RunStore.of(settings).read(run.folder.id).status == "cancelled"
    rule = WordRule()
    rest = finished(go_on(run.folder, Opened(rule, run.table)))
    assert len(rule.asked) == 3
    assert csv_of(rest.table, rest.judged()) == csv_of(whole.table, whole.judged())


def test_stop_from_elsewhere_ends_the_run_after_a_pass(begun: Begin) -> None:
    run = begun()
    with pytest.raises(Cancelled):
        for _ in run.run():
            run.stop(Cancelled("Stopped."))
    assert run.n_done == 1


def test_another_classifier_cannot_go_on_with_a_run(begun: Begin) -> None:
    run = begun()
    with pytest.raises(UserError, match="differs in: classifier"):
        go_on(run.folder, Opened(WordRule(smoothing=2.0), run.table))


def test_a_run_is_read_from_its_folder_alone(begun: Begin, source: Source) -> None:
    run = finished(begun())
    source.path.unlink()
    table, judged = judged_run(run.folder)
    assert csv_of(table, judged) == csv_of(run.table, run.judged())


def test_a_table_that_was_changed_in_the_folder_is_told(begun: Begin) -> None:
    run = finished(begun())
    (run.folder.path / "table.csv").write_text(TABLE.replace("bad", "worse"))
    with pytest.raises(UserError, match="was changed"):
        judged_run(run.folder)


def test_the_csv_holds_every_row_in_order_with_labels_and_reasons(begun: Begin) -> None:
    run = finished(begun())
    rows = sheet(run.table, run)
    assert list(rows[0]) == ["label", "text", "note", "line", "predicted label", "probability", "p(negative)",
                             "p(positive)", "n_cut", "error"]  # fmt: skip
    assert [row["line"] for row in rows] == ["2", "3", "4", "5", "6", "7", "8"]
    assert [row["predicted label"] for row in rows] == ["positive", "negative", "", "negative", "positive", "", ""]
    assert [row["error"] for row in rows[2:]] == [
        "nothing to be counted", "", "", "column text is empty", "4 cells, but there are 3 columns",
    ]  # fmt: skip
    assert float(rows[0]["probability"]) == pytest.approx(0.75) and rows[4]["n_cut"] == "3"


def test_cells_stay_as_they_were_and_formulas_are_defused(begun: Begin) -> None:
    rows = sheet((run := finished(begun())).table, run)
    assert [row["note"] for row in rows[:3]] == ["-1", "'=1+1", "007"]


def test_the_summary_and_the_scores_count_what_is_left_out(begun: Begin) -> None:
    run = finished(begun())
    about, scores = summary(run.table, run.judged()), scores_of(run.judged())
    counts = [about[name] for name in ("n_rows", "n_bad", "n_scored", "n_unlabelled", "n_unclassified", "n_cut")]
    assert counts == [7, 2, 3, 1, 1, 1]
    assert scores is not None and scores["confusion"] == {"labels": list(LABELS), "counts": [[1, 0], [1, 1]]}
    assert sum(one["n"] for one in scores["reliability"]) == 3


def test_numbers_cannot_be_the_truth_of_labels(begun: Begin, source: Source, tmp_path: Path) -> None:
    path = tmp_path / "sts.csv"
    path.write_text("text,score\na,1.5\nb,2\n")
    with pytest.raises(UserError, match="gives one label, but column score is read as a number"):
        begun(source=Source(path, Columns("text", truth="score", kind="regression")))


def test_a_trained_classifier_of_the_shelf_starts_and_resumes_by_its_name(source: Source, settings: Settings) -> None:
    folder = settings.classifiers / "usual"
    folder.mkdir(parents=True)
    write_note(folder, ClassifierFile("majority", "single", LABELS, shares=(0.4, 0.6)))
    classifiers = Classifiers(Host(settings), settings)
    reading = Reading(separator=",")
    run = start(Asked("usual"), replace(source, reading=reading), classifiers, settings)
    next(steps := run.run())
    steps.close()
    again = finished(resume(run.folder, classifiers))
    assert again.n_done == 5
    assert {row.answer for row in again.judged().rows} == {"positive"}


def test_a_chat_model_is_shown_examples_that_it_is_not_scored_on(
    source: Source, settings: Settings, tiny_llama: Path
) -> None:
    asked = Asked(str(tiny_llama), LABELS, ZeroShotConfig(n_examples=2))
    with running(tiny_llama, settings) as host:
        run = finished(start(asked, source, Classifiers(host, settings), settings))
        again = resume(run.folder, Classifiers(host, settings))
    shown = [place for place, found in run.outcomes.items() if found == Unclassified(place, *SHOWN)]
    assert sorted(str(run.table.truths[place]) for place in shown) == sorted(LABELS), "one of each label"
    assert (len(run.judged().places), again.n_done) == (2, 5)


def test_a_row_that_repeats_an_example_is_not_scored_either(
    tmp_path: Path, settings: Settings, tiny_llama: Path
) -> None:
    path = tmp_path / "twice.csv"
    path.write_text("text,label\ngood,positive\n BAD,negative\nGood ,positive\nbad,negative\n", encoding="utf-8")
    asked = Asked(str(tiny_llama), LABELS, ZeroShotConfig(n_examples=2))
    with running(tiny_llama, settings) as host:
        source = Source(path, Columns("text", truth="label"))
        run = finished(start(asked, source, Classifiers(host, settings), settings))
    assert run.outcomes == {place: Unclassified(place, *SHOWN) for place in range(4)}


def test_baselines_answer_each_row_by_a_model_that_did_not_see_it(tmp_path: Path) -> None:
    lines = [f"{word} {number},{label}" for number in range(10) for word, label in (("good", "yes"), ("bad", "no"))]
    path = tmp_path / "words.csv"
    path.write_text("\n".join(["text,label", *lines, "good again,"]))
    table = Source(path, Columns("text", truth="label")).read()
    found = crossed(table, range(20))
    assert [row.is_right for row in found["tfidf"].rows[:20]] == [True] * 20
    assert len(found["majority"].places) == 20 and found["majority"].rows[20].answer is None


def test_rows_that_say_the_same_are_in_one_fold() -> None:
    items = [Item(text) for text in ("a", "b", "A ", "c", "d", "e", "b")]
    fold = folds(items, ["x", "y", "x", "x", "y", "y", "y"])
    assert fold[0] == fold[2] and fold[1] == fold[6] and len(set(fold)) == 5
