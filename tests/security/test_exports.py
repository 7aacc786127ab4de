"""Exports against rows B14 and B15 of the threats, and against HTML that models or data may hold."""

import csv
import io
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.report import Reported, export
from eval.report.markup import element
from eval.report.page import POLICY
from eval.report.sheet import csv_text
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import RunStore
from tests.eval.made_runs import run_of
from tests.eval.reported_runs import HOSTILE, reported, written_task

SIGNS = "=+-@\t\r"
# The whole of what the page is made of; anything else came out of a text.
TAGS = {
    "html", "head", "meta", "link", "title", "style", "body", "main", "header", "section", "footer", "h1", "h2", "h4",
    "h5", "p", "ul", "li", "b", "span", "div", "pre", "details", "summary", "table", "thead", "tbody", "tr", "th", "td",
    "figure", "figcaption", "svg", "g", "rect", "line", "text", "polygon", "circle",
}


def hostile(text: str) -> Reported:
    """A run whose every name, prompt, answer, reason and setting is this text."""
    return reported(
        written_task(text, name=text), run=run_of(written_task(text, name=text), label=text), label=text, created=text,
        model={"name": text, text: text}, settings={"shots": text}, versions={text: text}, command=text,
        extracted={text: {0: {text: [text]}}},
    )


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {key for key, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def cells(text: str) -> Iterator[str]:
    for row in csv.reader(io.StringIO(text, newline="")):
        yield from row


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text() | st.sampled_from(SIGNS).flatmap(lambda sign: st.text().map(lambda rest: sign + rest))))
def test_B14_no_cell_of_text_begins_as_a_formula(texts: list[str]):
    for cell in cells(csv_text(["column"], [[text] for text in texts])):
        assert not cell.lstrip(" ").startswith(tuple(SIGNS))


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers())
def test_B14_numbers_stay_numbers_whatever_their_sign(number: float, whole: int):
    written = list(cells(csv_text(["a", "b"], [[number, whole]])))[2:]
    assert (float(written[0]), int(written[1])) == (number, whole)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_characters="\0")))
def test_B14_a_text_loses_nothing_but_gains_an_apostrophe_at_most(text: str):
    written = list(cells(csv_text(["column"], [[text]])))[1:] or [""]
    assert written[0].removeprefix("'") in (text, text.removeprefix("'"))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "＝1"])
def test_B14_a_hostile_name_of_task_or_model_is_disarmed_in_the_export(text: str):
    written = export([hostile(text)], "csv")
    assert not any(cell.lstrip().startswith(("=", "+", "@", "＝", "-1")) for cell in cells(written))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("text", HOSTILE)
def test_B15_texts_of_models_and_data_are_text_on_the_page(text: str, language):
    seen = Seen(export([hostile(text), hostile(text)], "html", language=language))
    assert seen.tags <= TAGS
    assert not any(name.startswith("on") for name in seen.attributes)
    assert "href" not in seen.attributes or seen.text


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_B15_whatever_a_text_holds_it_is_escaped_and_comes_back_whole(text: str):
    seen = Seen(element("p", text, title=text))
    assert seen.tags == {"p"} and seen.attributes == {"title"}
    assert seen.text == text


def test_B15_the_page_forbids_script_and_requests_even_if_a_text_got_through():
    page = export([hostile("x")], "html")
    assert POLICY.startswith("default-src 'none'") and "script-src" not in POLICY
    assert page.index("Content-Security-Policy") < page.index("<style>")


@pytest.mark.parametrize("text", HOSTILE)
def test_B15_markdown_opens_no_tag_link_or_cell_of_its_own(text: str):
    table = export([reported(written_task("x", name=text), label=text, command="")], "markdown")
    line = table.splitlines()[2]
    assert line.replace("\\|", "").count("|") == 8
    assert not any(sign in line.replace("\\<", "").replace("\\[click\\]", "") for sign in ("<", "](",))


def test_B15_json_keeps_names_unchanged():
    for text in HOSTILE[:5]:
        assert json.loads(export([hostile(text)], "json"))["runs"][0]["label"] == text


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_B15_a_run_id_from_outside_never_leads_out_of_the_folder(tmp_path_factory, name: str):
    root = tmp_path_factory.getbasetemp() / "runs-of-others"
    (root.parent / "secret").mkdir(exist_ok=True)
    for candidate in (name, f"../{name}", f"..\\{name}", f"/{name}", f"{root.parent}/secret"):
        with pytest.raises(UserError):
            RunFolder.open(root, candidate)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=150))
def test_B15_a_note_on_a_run_is_kept_as_text_and_moves_no_file(tmp_path_factory, text: str):
    root = tmp_path_factory.mktemp("home") / "runs"
    store = RunStore(root)
    folder = store.create({"kind": "benchmark"})
    store.note(folder.id, text)
    assert store.read(folder.id).note == " ".join(text.split())
    assert [path.name for path in root.iterdir()] == [folder.id]


def test_B15_ids_are_made_here_and_names_stand_in_no_path(tmp_path: Path):
    spec = {"kind": "benchmark", "model": {"name": "../../x; touch /tmp/pwned $(id)"}}
    folder = RunFolder.create(tmp_path / "runs", spec)
    assert folder.id.isalnum() and len(folder.id) == 12 and folder.spec()["model"] == spec["model"]
    assert [path.name for path in tmp_path.rglob("*")].count(folder.id) == 1
