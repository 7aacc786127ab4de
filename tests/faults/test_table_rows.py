"""Rows U of the list of faults that a table to classify decides: missing labels, repeated rows, hostile cells."""

import csv
import io
from html.parser import HTMLParser

import pytest

from llm_app.classify.judged import judge
from llm_app.classify.table import Columns, LabelledTable, labelled, overlapping, repeated
from llm_app.classify.types import Prediction
from llm_app.data.read import read_file
from llm_app.data.table import Reading
from llm_app.errors import UserError
from llm_app.jobs.classify_sheet import csv_of
from llm_app.web.classify import table_views as views
from llm_app.web.classify.desk import Known, Laid

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


HOSTILE = (
    '{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}', "<img src=x onerror=alert(1)>",
    "</td></table><script>alert(1)</script>", "=HYPERLINK(A1)", "@SUM(1)", "\x1b[31mred\x1b[0m", "![x](http://x.example/)",
)


class Read(HTMLParser):
    """The elements and the text of a piece of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements, self.text = set[str](), ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements |= {tag, *(f"@{name}" for name, _ in attrs)}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("hostile", HOSTILE)
def test_U20_what_a_cell_a_label_or_a_column_holds_is_shown_as_text(hostile: str) -> None:
    quoted = '"' + hostile.replace('"', '""') + '"'
    rows = f"{quoted},label\n{quoted},{quoted}\nfine,x\n,{quoted}\n"
    read = read_file(rows.encode(), "a.csv", reading=Reading(None, ",", True))
    columns = Columns(read.columns[0], truth="label")
    known = Known(Laid("a.csv"), read, labelled(read, columns))
    shown = [views.preview(known), views.about(known), views.bad_rows(known, can_mend=True)]
    page = Read("".join(shown))
    assert page.elements.isdisjoint({"img", "script", "a", "form", "iframe", "@onerror", "@src", "@href"})
    assert "\x1b" not in page.text
    assert page.text.count(hostile.replace("\x1b", "␛")) >= 3, "as a column, a text and a label"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_U20_a_spreadsheet_takes_no_cell_for_a_formula(hostile: str) -> None:
    quoted = '"' + hostile.replace('"', '""') + '"'
    found = table(f"text,label\n{quoted},x\nfine,y\n")
    judged = judge("single", ("x", "y"), found.truths, [Prediction(0, (0.9, 0.1)), Prediction(1, (0.1, 0.9))])
    (cells, _) = csv.DictReader(io.StringIO(csv_of(found, judged)))
    assert cells["text"] == ("'" if hostile[0] in "=@" else "") + hostile
