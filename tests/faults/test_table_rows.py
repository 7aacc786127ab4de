"""Rows U of the list of faults that a table to classify decides: labels that are missing, rows that repeat."""

import pytest

from llm_app.classify.table import Columns, LabelledTable, labelled, overlapping, repeated
from llm_app.data.read import read_file
from llm_app.errors import UserError

COLUMNS = Columns("text", truth="label")


def table(text: str) -> LabelledTable:
    return labelled(read_file(text.encode(), "a.csv"), COLUMNS)


def test_U8_rows_without_a_label_are_listed_and_dropped_on_confirmation() -> None:
    found = table("text,label\na,x\nb,\nc,y\nd, \n")
    assert [found.lines[place] for place in found.unlabelled] == [3, 5]
    with pytest.raises(UserError, match=r"2 rows have no label \(lines 3, 5\)"):
        found.only_labelled(drops_unlabelled=False)
    kept = found.only_labelled(drops_unlabelled=True)
    assert [item.text for item in kept.items] == ["a", "c"] and kept.lines == (2, 4)


@pytest.mark.parametrize("word", ["NA", "null", "None", "nan", "N/A", "007", "true"])
def test_U8_words_that_look_like_nothing_are_texts_and_labels_like_others(word: str) -> None:
    found = table(f"text,label\n{word},{word}\n")
    assert found.items[0].text == word and found.truths == (word,)


def test_U10_repeated_rows_and_those_with_another_label_are_counted() -> None:
    found = repeated(table("id,text,label\n1,Same text,x\n1,same  TEXT,x\n2,ｓame text,y\n3,other,y\n"))
    assert (found.n_duplicates, found.n_contradictions) == (2, 1)


def test_U10_rows_that_train_and_test_share_are_counted() -> None:
    train, test = table("text,label\na,x\nb,y\n"), table("text,label\nB,y\nc,x\n")
    assert overlapping(train, test) == [0]
