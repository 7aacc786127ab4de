"""The HTML report: what stands on it, in both languages."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from eval.compare import Answered, Metric, TaskRun
from eval.report import Section, export, html_page, rows_of
from eval.report.markup import element
from eval.report.plots import N_COLOURS, Bar, bars, radar
from eval.report.samples import MAX_TEXT, choices_of
from eval.report.text import LANGUAGES, STRINGS
from tests.eval.reported_runs import choice_task, chosen, reported, written_task


class Reader(HTMLParser):
    """Tags, and the text of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(*runs, **options) -> Reader:
    return Reader(html_page(runs, [rows_of(run) for run in runs], **options))


def test_every_sentence_is_there_in_english_and_chinese():
    for english, chinese in STRINGS.values():
        assert english and re.search("[\u4e00-\u9fff]", chinese)
        assert set(re.findall(r"{(\w+)", english)) == set(
            re.findall(r"{(\w+)", chinese)
        )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_holds_identity_settings_versions_results_and_command(language):
    run = reported(choice_task(13, 20))
    page = read(run, language=language)
    for part in ("a" * 64, "2048", "0.4.13", "0.650", "[0.433, 0.819]", run.command, run.run.id, "2026-01-02 03:04:05"):
        assert part in page.text


def test_the_page_asks_for_nothing_outside_and_runs_nothing():
    page = read(reported(choice_task(13, 20)))
    assert [tag for tag, _ in page.tags if tag in ("script", "iframe", "img", "object", "embed", "form", "base")] == []
    links = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert links == ["data:,"]
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)


def test_the_style_sheet_fetches_nothing():
    style = export([reported(choice_task(1, 2))], "html").split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_a_sample_shows_its_prompt_as_sent_its_choices_and_which_was_right():
    page = read(reported(choice_task(1, 1)))
    assert "Question 0\nAnswer:" in page.text
    assert "−1.0" in page.text and "choice 3" in page.text and "most likely, target" in page.text


def test_a_generated_answer_stands_beside_what_was_extracted_from_it():
    run = reported(written_task("the answer is 7"), extracted={"writing": {0: {"strict": ["7"]}}})
    assert "Extracted answer (strict)7" in read(run).text


def test_shares_of_choices_add_up_to_one():
    choices = choices_of(chosen(0, [-700.0, -701.0, -1000.0], 0))
    assert sum(choice.share for choice in choices) == pytest.approx(1)
    assert choices[0].share == pytest.approx(1 / (1 + 2.718281828**-1), rel=1e-6)


@pytest.mark.parametrize(("acc", "expected"), [(1.0, 1), (0.0, 2)])
def test_a_number_that_is_also_a_choice_is_read_as_the_accuracy_says(acc, expected):
    # The choices are 1, 2, 3; the model takes the second. "2" as a text is that one, as a number it is the third.
    requests = tuple(("1 + 1 =", f" {i}") for i in (1, 2, 3))
    sample = replace(chosen(0, [-2.0, -1.0, -3.0], 0), target="2", requests=requests, scores={"acc,none": acc})
    assert [choice.is_target for choice in choices_of(sample)].index(True) == expected


def test_what_was_not_scored_is_listed_with_its_reason():
    page = read(reported(written_task("longer than the context")))
    assert "What was not scored, and why" in page.text and "longer than the context" in page.text


def test_a_page_without_errors_has_no_list_of_them():
    assert "What was not scored" not in read(reported(choice_task(1, 2))).text


def test_a_partial_run_says_so_beside_its_score():
    assert "partial: 5 of 30 samples" in read(reported(choice_task(3, 5, n_asked=30))).text


def test_a_task_that_was_not_begun_is_on_the_page_as_partial():
    empty = TaskRun("quiz", "1.0", 0, 9, (Metric("acc", "mean", True),), {})
    page = read(reported(empty)).text
    assert "quiz" in page and "partial: 0 of 9 samples" in page and "Plots" not in page


def test_a_run_without_tasks_is_still_a_page():
    assert "Nothing has been scored yet." in read(reported()).text


def test_two_runs_stand_side_by_side_and_keep_their_colours():
    page = read(reported(choice_task(2, 5), label="one"), reported(choice_task(5, 5), label="two"))
    heads = [tag for tag, attributes in page.tags if tag == "th" and attributes.get("class") == "num"]
    assert len(heads) >= 2 and "0.400" in page.text and "1.000" in page.text
    assert {"run-0", "run-1"} <= {attributes.get("class") for _, attributes in page.tags}


def test_a_task_that_only_the_second_run_has_keeps_the_second_colour():
    runs = [reported(choice_task(2, 5), label="one"), reported(choice_task(5, 5, name="more"), label="two")]
    page = export(runs, "html")
    assert '<h4 class="run-1">two</h4>' in page.split("<b>more</b>")[1]


def test_what_one_run_has_not_begun_stands_beside_the_score_of_the_other():
    empty = TaskRun("quiz", "1.0", 0, 9, (Metric("acc", "mean", True),), {})
    page = read(reported(choice_task(9, 9), label="one"), reported(empty, label="two"))
    cells = [attributes["data-label"] for _, attributes in page.tags if attributes.get("class") == "num run"]
    assert cells == ["one", "two"] and "–n 0partial: 0 of 9 samples" in page.text


def test_a_radar_leaves_out_what_a_run_has_not_answered():
    tasks = [choice_task(3, 4, name=name) for name in "abcd"]
    page = export([reported(*tasks, label="one"), reported(*tasks[:3], label="two")], "html")
    assert ">c</tspan>" in page and ">d</tspan>" not in page


def test_an_empty_setting_says_what_it_means():
    page = read(reported(choice_task(1, 2), settings={"shots": "", "limit": "", "seed": "", "chat_template": ""})).text
    assert "Shotseach task's own" in page and "Samples of each taskall" in page


def test_sections_made_elsewhere_stand_first():
    section = Section("Did it help?", element("p", "Overall: better."))
    text = read(reported(choice_task(1, 2)), sections=[section]).text
    assert text.index("Did it help?") < text.index("Results") < text.index("Plots")


def test_only_the_first_samples_are_on_the_page():
    page = export([reported(choice_task(10, 40))], "html")
    assert page.count('class="sample"') == 20


def test_a_prompt_as_long_as_a_book_is_cut_and_says_so():
    sample = Answered(0, "d", {}, "", (("x" * (MAX_TEXT + 7), ""),), ("y",), {"exact_match,none": 0.0})
    run = reported(TaskRun("long", "1.0", 0, 1, (Metric("exact_match", "mean", True),), {0: sample}))
    assert "… 7 more characters are left out here" in read(run).text


@pytest.mark.parametrize("n", [2, 17])
def test_a_radar_needs_a_number_of_axes_that_can_be_read(n):
    row = rows_of(reported(choice_task(1, 2)))[0]
    assert radar([[Bar("model", 0, row)]] * n) is None


def test_no_label_of_a_radar_stands_outside_of_it_not_even_on_a_phone():
    names = ["smoke_sentiment_en", "hellaswag_chinese_with_a_long_name", "arc_easy", "x" * 40, "smoke_translation"]
    rows = [rows_of(reported(choice_task(1, 2, name=name)))[0] for name in names]
    svg = ElementTree.fromstring(radar([[Bar("model", 0, row)] for row in rows]))
    left, top, width, height = map(float, svg.get("viewBox").split())
    for text in svg.findall("text[@class='axis']"):
        for place, line in enumerate(text.findall("tspan")):
            n = 6.3 * len(line.text)  # a wide letter of the font, in the units of the picture
            x = float(line.get("x")) - {"start": 0, "middle": n / 2, "end": n}[text.get("text-anchor")]
            y = float(text.get("y")) + sum(float(one.get("dy")) for one in text.findall("tspan")[: place + 1])
            assert left <= x and x + n <= left + width and top + 8 <= y <= top + height, line.text


def test_plots_are_well_formed_and_say_their_numbers_to_a_screen_reader():
    row = rows_of(reported(choice_task(13, 20)))[0]
    for plot in (bars([[Bar("model", 0, row)]], "guessing"), radar([[Bar("model", N_COLOURS, row)]] * 3)):
        assert "0.650 [0.433, 0.819]" in ElementTree.fromstring(plot).get("aria-label", "")


def test_a_bar_is_as_long_as_its_score():
    row = rows_of(reported(choice_task(13, 20)))[0]
    rect = ElementTree.fromstring(bars([[Bar("model", 0, row)]], "guessing")).findall("rect")[1]
    assert (rect.get("x"), rect.get("width")) == ("0.00%", "65.00%")
