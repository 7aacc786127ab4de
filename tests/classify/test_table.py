"""Tables to classify: columns, truths of every kind, bad rows, repetitions; and the layouts that data sets come in."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_app.classify.guess import guess
from llm_app.classify.table import (
    Columns,
    LabelledTable,
    Repeated,
    labelled,
    overlapping,
    renamed_by_place,
    repeated,
    with_strangers_told,
)
from llm_app.classify.types import Item, Kind
from llm_app.data.read import read_file
from llm_app.data.table import Reading
from llm_app.errors import UserError

REVIEWS = "text,label\ngood food,positive\nbad food,negative\n,positive\nfine,\nGood  food,negative\n"


def table(text: str, columns: Columns, name: str = "reviews.csv") -> LabelledTable:
    return labelled(read_file(text.encode(), name), columns)


def test_rows_become_items_with_their_truths_and_lines() -> None:
    found = table(REVIEWS, Columns("text", truth="label"))
    assert [item.text for item in found.items] == ["good food", "bad food", "fine", "Good  food"]
    assert found.truths == ("positive", "negative", None, "negative")
    assert found.lines == (2, 3, 5, 6)
    assert [(row.origin.line, row.reason) for row in found.problems] == [(4, "column text is empty")]


def test_labels_stand_in_the_order_of_their_frequency() -> None:
    found = table("t,l\na,x\nb,y\nc,y\nd,z\ne,z\n", Columns("t", truth="l"))
    assert found.labels == ("y", "z", "x")
    assert found.n_labels == {"y": 2, "z": 2, "x": 1}


def test_pairs_need_both_texts() -> None:
    found = table("a,b,same\nx,y,1\nx,,0\n", Columns("a", "b", "same"))
    assert found.items == (Item("x", "y"),)
    assert found.problems[0].reason == "column b is empty"


def test_several_labels_are_split_at_the_separator() -> None:
    found = table('t;l\na;"x, y,x"\nb;,\nc;\n', Columns("t", truth="l", kind="multi", separator=","))
    assert found.truths == (("x", "y"), (), None)


def test_several_labels_may_be_a_list() -> None:
    rows = [{"t": "a", "l": ["x", "y"]}, {"t": "b", "l": []}, {"t": "c", "l": [["x"]]}]
    found = table("\n".join(map(json.dumps, rows)), Columns("t", truth="l", kind="multi"), "tags.jsonl")
    assert found.truths == (("x", "y"), ())
    assert found.problems[0].reason == "the list of labels holds something else than labels"


@pytest.mark.parametrize(("cells", "labels"), [
    ([1.0, None, 0.0, -2.0], ("1", None, "0", "-2")),  # a column of whole numbers with a gap
    ([True, False, None, True], ("true", "false", None, "true")),
    ([0.5, 1.0, None, 2.25], ("0.5", "1", None, "2.25")),
])
def test_numbers_and_truth_values_of_parquet_are_labels_as_a_person_writes_them(
    cells: list[object], labels: tuple[str | None, ...]
) -> None:
    from io import BytesIO

    import pyarrow as pa
    from pyarrow import parquet

    file = BytesIO()
    parquet.write_table(pa.table({"t": ["a", "b", "c", "d"], "l": cells}), file)
    assert labelled(read_file(file.getvalue(), "t.parquet"), Columns("t", truth="l")).truths == labels


def test_labels_of_a_list_are_read_as_single_ones_are() -> None:
    found = table('{"t": "a", "l": [1.0, true, " x "]}\n', Columns("t", truth="l", kind="multi"), "tags.jsonl")
    assert found.truths == (("1", "true", "x"),)


def test_what_is_no_number_is_listed_where_numbers_are_wanted() -> None:
    found = table("t;s\na;3.5\nb;high\nc;nan\nd;\n", Columns("t", truth="s", kind="regression"))
    assert found.truths == (3.5, None) and found.labels == ("s",)
    assert [row.reason for row in found.problems] == ["'high' is no number", "'nan' is no number"]


def test_a_missing_column_is_told_with_what_there_is() -> None:
    with pytest.raises(UserError, match=r"has no column 'texts' for the text; it has text, label\. Is 'text' meant\?"):
        table(REVIEWS, Columns("texts"))


def test_one_column_cannot_be_text_and_truth() -> None:
    with pytest.raises(UserError, match="different columns"):
        table(REVIEWS, Columns("text", truth="text"))


def test_numbers_are_places_in_the_labels_where_all_of_them_are() -> None:
    found = renamed_by_place(table("t,l\na,0\nb,1\n", Columns("t", truth="l")), ("negative", "positive"))
    assert found.truths == ("negative", "positive")
    assert "0 = negative, 1 = positive" in str(found.notes[-1])


@pytest.mark.parametrize("cells", [("1", "2"), ("0", "other"), ("0", "negative")])
def test_numbers_are_left_alone_where_they_may_mean_something_else(cells: tuple[str, str]) -> None:
    found = table(f"t,l\na,{cells[0]}\nb,{cells[1]}\n", Columns("t", truth="l"))
    assert renamed_by_place(found, ("negative", "positive")) is found


def test_repetitions_are_counted_but_for_case_width_and_spaces() -> None:
    assert repeated(table(REVIEWS, Columns("text", truth="label"))) == Repeated(1, 1)


def test_rows_of_the_test_table_that_were_trained_on_are_found() -> None:
    train, test = (table(text, Columns("t")) for text in ("t\na b\nc\n", "t\nd\nＡ  B\n"))
    assert overlapping(train, test) == [1]


CELL = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6))
def test_nothing_is_lost_and_nothing_is_changed(rows: list[tuple[str, str]]) -> None:
    text = "\n".join(json.dumps({"text": one, "label": label}) for one, label in rows)
    found = table(text, Columns("text", truth="label"), "rows.jsonl")
    kept = {line: (item.text, truth) for line, item, truth in zip(found.lines, found.items, found.truths, strict=True)}
    bad = {row.origin.line for row in found.problems}
    for line, (one, label) in enumerate(rows, start=1):
        assert (line in bad) == (not one.strip())
        if one.strip():
            assert kept[line] == (one, label.strip() or None)


# Columns that are guessed, and the layouts of well-known data sets. --------------------------------------------------


@pytest.mark.parametrize(("text", "expected"), [
    ("id,sentence,label\n1,so good,1\n2,so bad,0\n3,hm,1\n", Columns("sentence", truth="label")),
    ("sentence1,sentence2,score\na b,c d,3.5\ne,f,1.0\n", Columns("sentence1", "sentence2", "score", "regression")),
    ("kind,words\nham,how are you today\nspam,win a prize now\nham,see you\nham,ok\n",
     Columns("words", truth="kind")),
])  # fmt: skip
def test_columns_are_guessed_by_name_and_by_content(text: str, expected: Columns) -> None:
    assert guess(read_file(text.encode(), "data.csv")) == expected


RAW = [
    ("classify/ag_news/test.csv", Reading(), Columns("column 3", truth="column 1"), 3800, 4),
    ("classify/sms_spam/sms.tsv", Reading(), Columns("column 2", truth="column 1"), 3900, 2),
    ("classify_zh/chnsenticorp_htl/ChnSentiCorp_htl_all.csv", Reading(), Columns("review", truth="label"), 3883, 2),
    ("classify_zh/fewclue_tnews/train_few_all.json", Reading(), Columns("sentence", truth="label_desc"), 1185, 15),
    ("classify_zh/fewclue_eprstmt/train_few_all.json", Reading(), Columns("sentence", truth="label"), 160, 2),
    ("classify_zh/thucnews10/dev.txt", Reading(), Columns("column 1", truth="column 2"), 10_000, 10),
    ("classify_zh/lcqmc/dev.txt", Reading(), Columns("column 1", "column 2", "column 3"), 8802, 2),
    ("classify_zh/sts_b_zh/sts-b-dev.txt", Reading(),
     Columns("column 1", "column 2", "column 3", "regression"), 1458, 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "reading", "columns", "n_rows", "n_labels"), RAW, ids=[case[0] for case in RAW])
def test_the_layouts_of_real_data_sets_are_read(
    name: str, reading: Reading, columns: Columns, n_rows: int, n_labels: int, hub_data: Path
) -> None:
    found = labelled(read_file(hub_data.parent / "raw" / name, reading=reading), columns)
    assert abs(len(found.items) + len(found.problems) - n_rows) <= 1
    assert len(found.problems) <= 0.001 * n_rows
    assert len(found.labels) == n_labels


def test_rows_whose_true_label_the_classifier_lacks_are_counted_and_told() -> None:
    found = with_strangers_told(table(REVIEWS, Columns("text", truth="label")), ("good", "positive"))
    (note,) = found.notes
    assert "In 2 rows the true label (negative) is not among the labels of the classifier (good, positive)" in note.text
    assert "有 2 行的真实标签（negative）不在分类器的标签（good, positive）之中" in note.text_zh


@pytest.mark.parametrize(("text", "kind", "labels"), (
    (REVIEWS, "single", ("negative", "positive", "mixed")), ("text,label\na,1.5\n", "regression", ("score",)),
    ("text\na\n", "single", ("x", "y")),
))  # fmt: skip
def test_nothing_is_told_where_every_true_label_can_be_answered(
    text: str, kind: Kind, labels: tuple[str, ...]
) -> None:
    truth = "label" if "label" in text else None
    rows = table(text, Columns("text", truth=truth, kind=kind))
    assert with_strangers_told(rows, labels) is rows
