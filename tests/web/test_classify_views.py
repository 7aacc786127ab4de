"""What the Classify tab shows of tables, rows, scores and trainings: pure functions."""

import re
from collections.abc import Sequence

import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from llm_app.classify.explain import Span
from llm_app.classify.judged import judge
from llm_app.classify.table import Columns, labelled
from llm_app.classify.training.events import Point, Scored
from llm_app.classify.types import Prediction
from llm_app.data.read import read_file
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.train_log import Written, line_of
from llm_app.training.events import Step
from llm_app.web.classify import calibration_views, confusion_views, one_views, rows_views, scores_views, versus_views
from llm_app.web.classify.answers import Answers
from llm_app.web.classify.calibration import calibration_of
from llm_app.web.classify.choice import labels_in, typed
from llm_app.web.classify.train_live import ClassifierTally

LABELS = ("no", "yes")
TRUTHS = ("no", "yes", "yes", "no", "yes", "no", "yes", "no", "no", "yes", "yes", "no", "no", "yes")
YES = (0.1, 0.9, 0.4, 0.8, 0.55, 0.3, 0.2, 0.45, 0.95, 0.7, 0.6, 0.05, 0.35, 0.85)
SAID = tuple("yes" if share > 0.5 else "no" for share in YES)


def answers(yes: Sequence[float] = YES, texts: Sequence[str] = (), name: str = "shown") -> Answers:
    rows = "\n".join(f'"{text}",{truth}' for text, truth in zip(texts or map(str, range(14)), TRUTHS, strict=True))
    table = labelled(read_file(f"text,label\n{rows}\n".encode(), "rows.csv"), Columns("text", truth="label"))
    outcomes = [Prediction(place, (1 - share, share)) for place, share in enumerate(yes)]
    return Answers(name, table, judge("single", LABELS, table.truths, outcomes))


def test_the_confusion_matrix_counts_what_scikit_learn_counts_and_a_cell_opens_its_rows() -> None:
    shown = answers()
    counts = confusion_matrix(TRUTHS, SAID, labels=LABELS).tolist()
    found = confusion_views.matrix_of(shown)
    assert found is not None and [list(row) for row in found.counts] == counts
    html = confusion_views.matrix(shown)
    for row, truth in enumerate(LABELS):
        for column, said in enumerate(LABELS):
            cell = confusion_views.named(found, f"{row}-{column}")
            assert cell == (truth, said) and f'value="{row}-{column}"' in html
            places = rows_views.places_of(shown, "all", cell)
            assert [(TRUTHS[place], SAID[place]) for place in places] == [cell] * counts[row][column]


@pytest.mark.parametrize("value", ["", "0", "0-9", "-1-0", "a-b", "٣-0", None, 3, "0-0-0"])
def test_a_cell_that_is_none_opens_nothing(value: object) -> None:
    found = confusion_views.matrix_of(answers())
    assert found is not None and confusion_views.named(found, value) is None


def test_rows_come_in_the_order_asked_for_and_a_page_at_a_time() -> None:
    shown = answers()
    wrong = [place for place in range(14) if TRUTHS[place] != SAID[place]]
    assert rows_views.places_of(shown, "errors", None) == wrong
    sure = rows_views.places_of(shown, "confident errors", None)
    assert sorted(sure) == wrong and YES[sure[0]] == 0.95
    least = rows_views.places_of(shown, "least confident", None)
    assert {YES[place] for place in least[:2]} == {0.55, 0.45}
    assert rows_views.cut(range(50), 999) == (list(range(40, 50)), 40)
    assert rows_views.cut([], 20) == ([], 0)


def test_texts_of_a_table_are_never_markup() -> None:
    shown = answers(texts=["<script>alert(1)</script> {x} $y$", *map(str, range(13))])
    html = rows_views.page(shown, range(14))
    assert "<script>" not in html and "{" not in html and "$" not in html
    assert html.count("<details") == 14


def test_scores_stand_with_their_intervals_for_every_classifier_on_the_table() -> None:
    right = sum(truth == said for truth, said in zip(TRUTHS, SAID, strict=True)) / len(TRUTHS)
    html = scores_views.board(answers(), [answers([0.1] * 14, name="other")])
    assert f"<b>{right:.3f}</b>" in html and "other" in html
    assert len(re.findall(r"\[0\.\d+, [01]\.\d+\]", html)) > 10


def test_a_table_without_truths_says_what_is_missing() -> None:
    table = labelled(read_file(b"text\na\nb\n", "rows.csv"), Columns("text"))
    shown = Answers("shown", table, judge("single", LABELS, table.truths, [Prediction(0, (0.4, 0.6))]))
    assert "true labels" in scores_views.board(shown, []) and "真实标签" in scores_views.board(shown, [])


def test_the_calibration_error_of_the_diagram_is_that_of_the_scores() -> None:
    shown = answers()
    found = calibration_of(shown)
    assert found is not None and found.after is None and shown.scores is not None
    assert found.before.error == pytest.approx(shown.scores.figures["ece"].estimate)
    assert calibration_views.diagram(found).count("<circle") == len(found.before.bins)


def test_a_temperature_makes_overconfident_probabilities_honest() -> None:
    table = answers().table.taken([0, 1] * 60)
    # Sure of everything, and right in three of four.
    outcomes = [
        Prediction(place, (0.01, 0.99) if (truth == "yes") == (place % 8 < 6) else (0.99, 0.01))
        for place, truth in enumerate(table.truths)
    ]
    found = calibration_of(Answers("sure", table, judge("single", LABELS, table.truths, outcomes)))
    assert found is not None and found.after is not None
    assert found.temperature > 2 and found.after.error < found.before.error / 3


@pytest.mark.parametrize("at", [0.25, 0.5, 0.65, 0.9])
def test_a_threshold_shows_the_precision_and_recall_that_scikit_learn_finds(at: float) -> None:
    said = [share >= at for share in YES]
    is_yes = [truth == "yes" for truth in TRUTHS]
    html = calibration_views.threshold(answers(), at)
    assert f"<dd>{precision_score(is_yes, said):.3f}</dd><" in html.replace("</div><div>", "<")
    assert f"<dd>{recall_score(is_yes, said):.3f}</dd>" in html


def test_two_classifiers_are_compared_in_a_sentence_of_both_languages() -> None:
    html = versus_views.verdict(answers(), answers([1 - share for share in YES], name="other"))
    assert 'class="verdict"' in html and "other" in html and 'lang="zh"' in html


def test_deciding_words_are_told_apart_without_colour() -> None:
    html = one_views.deciding([("good <b> bad", [Span(0, 4, 2.0), Span(9, 12, -1.0)])], "yes")
    assert 'class="for shade-5" title="+2.000">good</mark>' in html
    assert 'class="against shade-2" title="−1.000">bad</mark>' in html
    assert "<b>" not in html.replace("<b>+", "")


def test_the_likeliest_labels_stand_first_and_many_are_folded() -> None:
    labels = tuple(f"label {number}" for number in range(30))
    scores = tuple(number / 435 for number in range(30))
    html = one_views.verdict(one_views.Said("single", labels, Prediction(0, scores, 3), 0.024, "m · zero-shot"))
    assert html.index("label 29") < html.index("label 28") and html.count("<li") == 30
    assert "<summary" in html and "24 ms" in html and "3 tokens" in html


def test_labels_are_read_as_they_are_typed_in_both_languages() -> None:
    assert labels_in("a, b\nc，d、 e ,") == ("a", "b", "c", "d", "e")
    assert labels_in(typed(("so so", "bad"))) == ("so so", "bad")
    assert typed(("one, two", "three")) == ""


def test_a_training_shows_its_learning_curve_with_the_test_error_and_the_bars_to_beat(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("run") / "20260101-000000-abcd"
    path.mkdir()
    (path / "spec.json").write_text(
        '{"kind": "classifier", "config": {"method": "lstm"}, "columns": {"kind": "single"}}', encoding="utf-8"
    )
    tally = ClassifierTally(RunFolder(path))
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
    tally.add(line_of(step))  # resumed from an earlier checkpoint: what came after it is forgotten
    assert tally.body().count("validation") >= 1
