"""The results of a run: table, plots, samples, history, comparison with another run, export."""

import json
import re
import zipfile
from pathlib import Path

from playwright.sync_api import Locator, expect

from llm_app.web.benchmark.comparison_view import HEADS as COMPARED
from llm_app.web.benchmark.exports import FORMS
from llm_app.web.benchmark.table import HEADS
from tests.browser.walk.own_data import NAMES
from tests.browser.walk.visitor import Visitor

TEXT_METRICS = ("bleu", "chrf", "rouge", "exact_match", "acc", "f1", "perplexity")


def read_results(visitor: Visitor) -> None:
    """From the table to the file."""
    the_table_has_direction_error_interval_and_formula(visitor)
    bars_radar_and_history_are_drawn(visitor)
    samples_are_read(visitor)
    it_is_said_whether_it_helped(visitor)
    changed_samples_are_shown_once_runs_are_compared(visitor)
    every_form_is_exported(visitor)


def view(visitor: Visitor, name: str) -> None:
    visitor.tab(name, "#results .views > .tab-wrapper")


def the_table_has_direction_error_interval_and_formula(visitor: Visitor) -> None:
    page, table = visitor.page, "#results-table"
    row = page.locator(f"{table} tr.first").first
    if visitor.view.width > 760:
        visitor.sees(table, *(visitor.word(name) for name in HEADS.values()))
    visitor.sees(row, re.compile(r"[↑↓]"), re.compile(r"\[.+, .+\]"))
    for name in ("stderr", "n", "version"):
        expect(row.locator(f"td.{name}")).to_have_text(re.compile(r"\d"))
    visitor.sees(table, *NAMES, visitor.word("result_arrows"))
    visitor.press(f"{table} details.fold-line summary >> nth=0")
    words = page.inner_text(table).lower()
    assert [name for name in TEXT_METRICS if name not in words] == []
    visitor.press(row.locator("details.what summary"))
    visitor.sees(row.locator("details.what"), visitor.like("formula_share"))
    visitor.stage("results-1-table")
    page.keyboard.press("Escape")


def bars_radar_and_history_are_drawn(visitor: Visitor) -> None:
    view(visitor, "result_view_plots")
    plots = "#results-plots"
    visitor.sees(plots, visitor.word("plot_shares"), visitor.word("plot_radar"), visitor.word("result_plots_about"))
    expect(visitor.page.locator(f"{plots} svg .whisker").first).to_be_attached()
    visitor.unfold(visitor.fold_named("result_view_history", "#results"))
    visitor.sees("#results-history", visitor.word("result_history_about"), NAMES[0])
    visitor.stage("results-2-plots")


def samples_are_read(visitor: Visitor) -> None:
    """Choices with their log-probabilities, then text with what was taken from it; right, wrong, searched for."""
    page = visitor.page
    view(visitor, "result_view_samples")
    first = open_sample(visitor, "quiz")
    names = (
        "result_prompt_as_sent", "result_sample_choices", "col_logprob", "result_is_target", "result_sample_scores",
    )  # fmt: skip
    visitor.sees(first, "<|im_start|>user", *(visitor.word(name) for name in names))
    visitor.stage("results-3-choices")
    first = open_sample(visitor, "sums")
    names = ("target", "output", "extracted", "scores")
    visitor.sees(first, *(visitor.word(f"result_sample_{name}") for name in names))
    visitor.stage("results-4-text")
    for kind in ("right", "wrong"):
        visitor.tick("#samples-kind", visitor.word(f"kind_{kind}"))
        visitor.sees("#samples-count", visitor.one_of("result_sample_range", "result_no_sample"))
        marks = page.locator("#samples-list .mark").all_inner_texts()
        assert all(visitor.word(f"kind_{kind}") in mark for mark in marks), marks
    visitor.tick("#samples-kind", visitor.word("kind_changed"))
    visitor.sees("#samples-list", visitor.word("result_nothing_compared"))
    visitor.tick("#samples-kind", visitor.word("result_show_all"))
    visitor.fill("#samples-search", "2 + 2", "Enter")
    expect(page.locator("#samples-list details.sample")).to_have_count(1)
    page.locator("#samples-spaces input").check()
    visitor.press("#samples-list summary >> nth=0")
    visitor.sees("#samples-list details.sample", "⏎")
    visitor.fill("#samples-search", "", "Enter")


def open_sample(visitor: Visitor, task: str) -> Locator:
    """The first sample of a task, unfolded."""
    visitor.choose("#samples-task", task)
    visitor.sees("#samples-count", visitor.like("result_sample_range", first=1))
    sample = visitor.page.locator("#samples-list details.sample").first
    visitor.press(sample.locator("> summary"))
    return sample


def it_is_said_whether_it_helped(visitor: Visitor) -> None:
    page = visitor.page
    view(visitor, "result_view_compare")
    visitor.sees("#verdict", visitor.word("result_odd_runs", n=1))
    visitor.press("#verdict details.fold-line summary")
    visitor.sees("#verdict .refused", re.compile(r"\w"))
    visitor.stage("results-5-not-comparable")
    visitor.press(visitor.button("result_base_or_adapter"))
    visitor.sees("#verdict .verdict", re.compile(r"\w"))
    if visitor.view.width > 760:
        visitor.sees("#verdict", *(visitor.word(name) for name in COMPARED))
    visitor.sees("#verdict", visitor.word("plot_differences"), visitor.like("result_paired_about"))
    visitor.sees("#verdict", re.compile(r"\d+ / \d+ / \d+"), re.compile("McNemar|sign|bootstrap|permutation"))
    expect(page.locator("#verdict svg .zero").first).to_be_attached()
    visitor.stage("results-6-verdict")
    for kind in ("fixed", "broken", "unchanged"):
        visitor.tick("#changes-kind", visitor.word(f"kind_{kind}"))
        visitor.sees("#changes-count", visitor.word(f"kind_{kind}"))
    visitor.tick("#changes-kind", visitor.word("result_show_all"))
    visitor.press("#changes-list summary >> nth=0")
    visitor.sees("#changes-list details.sample >> nth=0", visitor.word("result_prompt_as_sent"), "poet")
    visitor.stage("results-7-changes")


def changed_samples_are_shown_once_runs_are_compared(visitor: Visitor) -> None:
    view(visitor, "result_view_samples")
    visitor.choose("#samples-task", "sums")
    visitor.tick("#samples-kind", visitor.word("kind_changed"))
    visitor.sees("#samples-count", visitor.one_of("result_sample_range", "result_no_sample"))


def every_form_is_exported(visitor: Visitor) -> None:
    page = visitor.page
    view(visitor, "result_view_export")
    report = visitor.word(f"result_export_html_{visitor.view.language}")
    expect(page.locator("#export-form input")).to_have_value(report)
    files: dict[str, Path] = {}
    for name, form in FORMS.items():
        if page.input_value("#export-form input") != visitor.word(form.label):
            visitor.choose("#export-form", visitor.word(form.label))
        visitor.sees("#export-notice", re.compile(rf"proofbench-\w+{re.escape(form.ending)}"))
        visitor.sees("#export-notice", visitor.like("result_file_is_ready"))
        files[name] = Path(visitor.save("#export-download").path())
    with zipfile.ZipFile(files["harness"]) as archive:
        names = [Path(name).name for name in archive.namelist()]
    assert any(name.startswith("results_") for name in names) and any(name.startswith("samples_") for name in names)
    assert "<html" in files["html-en"].read_text("utf-8") and "有没有" in files["html-zh"].read_text("utf-8")
    assert files["csv"].read_text("utf-8").count("\n") > len(NAMES)
    assert "| " in files["markdown"].read_text("utf-8") and json.loads(files["json"].read_text("utf-8"))
    assert "model-index" in files["model-index"].read_text("utf-8") and files["eval-results"].read_text("utf-8")
    assert "python -m llm_app benchmark" in page.input_value("#repeat-command textarea")
    visitor.stage("results-8-export")
