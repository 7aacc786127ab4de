"""What the Classify tab shows of tables, rows, scores and trainings: pure functions."""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from zlib import crc32

import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.explain import Span
from llm_app.classify.judged import judge
from llm_app.classify.table import Columns, labelled
from llm_app.classify.types import Item, Prediction, Unclassified
from llm_app.data.read import read_file
from llm_app.web.classify import calibration_views, confusion_views, one_views, rows_views, scores_views, versus_views
from llm_app.web.classify.answers import Answers
from llm_app.web.classify.calibration import best_threshold, calibration_of, is_held_back
from llm_app.web.classify.choice import labels_in, typed
from llm_app.web.classify.classifiers import Name, named
from llm_app.web.text import filled

LABELS = ("no", "yes")
TRUTHS = ("no", "yes", "yes", "no", "yes", "no", "yes", "no", "no", "yes", "yes", "no", "no", "yes")
YES = (0.1, 0.9, 0.4, 0.8, 0.55, 0.3, 0.2, 0.45, 0.95, 0.7, 0.6, 0.05, 0.35, 0.85)
SAID = tuple("yes" if share > 0.5 else "no" for share in YES)


def answers(yes: Sequence[float] = YES, texts: Sequence[str] = (), name: str = "shown") -> Answers:
    rows = "\n".join(f'"{text}",{truth}' for text, truth in zip(texts or map(str, range(14)), TRUTHS, strict=True))
    table = labelled(read_file(f"text,label\n{rows}\n".encode(), "rows.csv"), Columns("text", truth="label"))
    outcomes = [Prediction(place, (1 - share, share)) for place, share in enumerate(yes)]
    return Answers(Name(name), table, judge("single", LABELS, table.truths, outcomes))


def test_a_classifier_that_says_the_same_of_every_row_is_told_and_a_baseline_that_must_is_not() -> None:
    constant = answers([0.1] * 14, name="constant")
    html = scores_views.board(answers(), [constant, replace(constant, name=Name("bar"), is_baseline=True)])
    assert "constant gave the same answer to every row, no:" in html and "constant 对每一行的回答都是“no”" in html
    assert html.count("gave the same answer") == 1


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


def test_a_line_tells_over_how_many_rows_it_is_where_these_are_not_those_of_the_first() -> None:
    shown, other = answers(), answers(name="other")
    assert "among those of the first line" not in scores_views.board(shown, [other])
    fewer = judge("single", LABELS, other.table.truths, [row.outcome for row in other.judged.rows[4:] if row.outcome])
    html = scores_views.board(shown, [replace(other, judged=fewer)])
    assert "on 10 rows, of which 10 are among those of the first line" in html and "10 行" in html
    assert "the longest texts first" in html


def test_U10_figures_of_rows_that_were_learned_from_carry_a_word_on_that_wherever_they_stand() -> None:
    shown, other = answers(name="mine"), replace(answers(name="other"), n_learned=9)
    for html in (scores_views.board(shown, [other]), versus_views.verdict(shown, other)):
        assert html.count("notice warning") == 1
        assert "other learned from 9 of the table&#x27;s rows" in html and "9 行曾用于训练或挑选 other" in html
    assert "learned from" not in scores_views.board(shown, [answers(name="other")])


def test_why_there_are_no_baselines_stands_in_the_place_of_their_praise() -> None:
    html = scores_views.board(answers(), [], filled("scores_few_rows", least=10))
    assert "they need 10 scored rows" in html and "至少需要 10 行" in html and "bar to beat" not in html
    assert "bar to beat" in scores_views.board(answers(), [])


def test_what_sets_a_prompt_apart_from_the_usual_one_is_part_of_the_name() -> None:
    labels = ("no", "yes")

    def name(config: ZeroShotConfig) -> Name:
        words = config.words or labels
        return named("org/m", {"method": "zero-shot", "labels": labels, **asdict(config), "words": words})

    assert name(ZeroShotConfig(seed=3)).text == ("m · zero-shot", "m · 零样本")
    other = ZeroShotConfig("{text}:", ("a", "b"), "length", calibrates=True, n_examples=4)
    assert name(other).text[0] == (
        "m · zero-shot · 4 examples · calibrated · by label length · other template · other label words"
    )
    assert name(other).text[1].startswith("m · 零样本 · 4 个示例 · 已校准 ·")
    assert name(other).label.count("__i18n__") == 1 and "calibrated/已校准" in name(other).label
    assert named("mine", {"method": "lstm"}).text == ("mine", "mine")


def test_a_table_without_truths_says_what_is_missing() -> None:
    table = labelled(read_file(b"text\na\nb\n", "rows.csv"), Columns("text"))
    shown = Answers(Name("shown"), table, judge("single", LABELS, table.truths, [Prediction(0, (0.4, 0.6))]))
    assert "true labels" in scores_views.board(shown, []) and "真实标签" in scores_views.board(shown, [])


def test_the_calibration_error_of_the_diagram_is_that_of_the_scores() -> None:
    shown = answers()
    found = calibration_of(shown)
    assert found is not None and found.after is None and shown.scores is not None
    assert found.before.error == pytest.approx(shown.scores.figures["ece"].estimate)
    assert calibration_views.diagram(found).count("<circle") == len(found.before.bins)


def sure(texts: Sequence[str]) -> Answers:
    """Sure of everything, and right in three of four of these texts, whatever they are."""
    lines = "\n".join(f"{text},{'yes' if len(text) % 2 else 'no'}" for text in texts)
    table = labelled(read_file(f"text,label\n{lines}\n".encode(), "rows.csv"), Columns("text", truth="label"))
    outcomes = [
        Prediction(place, (0.01, 0.99) if (truth == "yes") == (crc32(texts[place].encode()) % 4 > 0) else (0.99, 0.01))
        for place, truth in enumerate(table.truths)
    ]
    return Answers(Name("sure"), table, judge("single", LABELS, table.truths, outcomes))


MANY = [f"{'x' * (number % 7)}{number}" for number in range(200)]


def test_a_temperature_makes_overconfident_probabilities_honest() -> None:
    found = calibration_of(sure(MANY))
    assert found is not None and found.after is not None
    assert found.temperature > 2 and found.after.error < found.before.error / 3


def test_the_rows_that_fit_a_temperature_are_parted_by_what_they_say_in_whatever_order_they_come() -> None:
    found, shuffled = calibration_of(sure(MANY)), calibration_of(sure(MANY[::-1]))
    assert found is not None and shuffled is not None and found.temperature == pytest.approx(shuffled.temperature)
    assert is_held_back(Item("The same")) == is_held_back(Item("the  same "))
    twice = calibration_of(sure(["one text"] * 40))  # nothing is left to be measured on
    assert twice is not None and twice.after is None


def test_the_best_threshold_is_chosen_on_one_half_and_measured_on_the_other() -> None:  # oracle: scikit-learn
    shown = answers(texts=[f"row {number}" for number in range(14)])
    rest = [is_held_back(item) for item in shown.table.items]
    chosen, measured = ([place for place in range(14) if rest[place] == side] for side in (False, True))

    def f1(places: Sequence[int], at: float) -> float:
        return float(f1_score([TRUTHS[place] == "yes" for place in places], [YES[place] >= at for place in places]))

    found = best_threshold(shown)
    assert found is not None
    assert f1(chosen, found.at) == max(f1(chosen, at) for at in YES)
    assert found.f1 == pytest.approx(f1(measured, found.at))
    assert f"{found.f1:.3f}" in calibration_views.threshold(shown, 0.5)


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


@pytest.mark.parametrize(("weight", "classes"), ((0.0625, []), (0.25, ["for shade-1"]), (-1.0, ["against shade-5"])))
def test_a_word_is_as_dark_as_its_weight_is_large_however_small_all_others_are(
    weight: float, classes: list[str]
) -> None:
    html = one_views.deciding([("good food", [Span(0, 4, weight), Span(5, 9, 0.0)])], "yes")
    assert re.findall('<mark class="([^"]+)"', html) == classes
    assert ("No word matters noticeably" in html) == (abs(weight) < 0.1)


def test_of_a_value_words_are_as_dark_as_they_are_beside_each_other() -> None:
    html = one_views.deciding([("good food", [Span(0, 4, 0.02), Span(5, 9, 0.01)])], None)
    assert re.findall("shade-([0-9])", html) == ["5", "2"] and "No word matters" not in html


def test_deciding_words_are_told_apart_without_colour() -> None:
    html = one_views.deciding([("good <b> bad", [Span(0, 4, 2.0), Span(9, 12, -1.0)])], "yes")
    assert 'class="for shade-5" title="+2.000">good</mark>' in html
    assert 'class="against shade-2" title="−1.000">bad</mark>' in html
    assert "<b>" not in html.replace("<b>+", "")


def test_the_likeliest_labels_stand_first_and_many_are_folded() -> None:
    labels = tuple(f"label {number}" for number in range(30))
    scores = tuple(number / 435 for number in range(30))
    by = "m · zero-shot", "m · 零样本"
    html = one_views.verdict(one_views.Said("single", labels, Prediction(0, scores, 3), 0.024, by))
    assert html.index("label 29") < html.index("label 28") and html.count("<li") == 30
    assert "<summary" in html and "24 ms" in html and "3 tokens" in html


def test_labels_are_read_as_they_are_typed_in_both_languages() -> None:
    assert labels_in("a, b\nc，d、 e ,") == ("a", "b", "c", "d", "e")
    assert labels_in(typed(("so so", "bad"))) == ("so so", "bad")
    assert typed(("one, two", "three")) == ""


def test_why_a_row_was_not_classified_is_told_in_both_languages() -> None:
    shown = answers()
    judged = judge("single", LABELS, shown.table.truths, [Unclassified(0, "too long", "太长")])
    page = rows_views.page(replace(shown, judged=judged), [0])
    assert "not classified: too long" in page and "未分类：太长" in page and "not classified: 太长" not in page
