"""The Benchmark tab: what is chosen, what is known before the start, what runs; then its results and tools."""

import json
import re
from pathlib import Path

import pyarrow
from playwright.sync_api import expect
from pyarrow import parquet

from eval.tasks.suites import SUITES
from llm_app.jobs.doctor import FINDINGS
from llm_app.web.benchmark.config import BenchmarkConfig
from tests.browser.walk.own_data import choose_own_tasks, keep_own_tasks
from tests.browser.walk.results import read_results
from tests.browser.walk.tools import look_with_the_doctor, measure_precisions
from tests.browser.walk.visitor import Visitor
from tests.live import slowed
from tests.web.site import MODEL, Site

CARD, FACTS, RUNS = "#benchmark-card", "#preflight", "#benchmark-rows li"
LIMIT, N_EASY = 3, 4


def make_hub(folder: Path) -> Path:
    """A folder of data sets as the hub has them, with one: a few questions of ARC's easy part."""
    arc = folder / "allenai" / "ai2_arc"
    (arc / "ARC-Easy").mkdir(parents=True)
    rows = [
        {
            "id": str(n), "question": f"What is {n} + {n}?", "answerKey": "A",
            "choices": {"text": [str(2 * n), str(n), "0"], "label": ["A", "B", "C"]},
        }
        for n in range(1, N_EASY + 1)
    ]  # fmt: skip
    names = {split: f"ARC-Easy/{split}-00000-of-00001.parquet" for split in ("train", "validation", "test")}
    for name in names.values():
        parquet.write_table(pyarrow.Table.from_pylist(rows), arc / name)
    files = [{"split": split, "path": name} for split, name in names.items()]
    card = json.dumps({"configs": [{"config_name": "ARC-Easy", "data_files": files}]})
    (arc / "README.md").write_text(f"---\n{card}\n---\n", encoding="utf-8")
    return folder


def walk_benchmark(visitor: Visitor, site: Site) -> None:
    """Every clause of the screen, in the order in which a person meets them."""
    visitor.tab("tab_benchmark")
    visitor.sees(CARD, visitor.word("no_runs_yet"))
    every_suite_says_what_it_is_for(visitor)
    visitor.press("#suite-smoke")
    tasks_are_found_and_ticked(visitor)
    keep_own_tasks(visitor)
    shots_limit_and_seed_become_a_command(visitor)
    the_template_decides_the_first_prompt(visitor)
    the_card_before_the_start_says_what_it_takes(visitor)
    a_run_is_watched_stopped_and_resumed(visitor, site)
    an_adapter_is_asked_the_same(visitor)
    another_run_is_asked_otherwise(visitor)
    read_results(visitor)
    measure_precisions(visitor)
    look_with_the_doctor(visitor)


def option(name: str) -> str:
    return f"#option-{name.replace('_', '-')}"


def every_suite_says_what_it_is_for(visitor: Visitor) -> None:
    for suite in SUITES:
        visitor.press(f"#suite-{suite.name}")
        visitor.sees("#suite-about", suite.about[visitor.view.language == "zh"])
    visitor.stage("benchmark-1-suite")


def tasks_are_found_and_ticked(visitor: Visitor) -> None:
    page = visitor.page
    visitor.press(visitor.button("pick_tasks"))
    rows = page.locator("#task-rows li")
    expect(rows).to_have_count(10, timeout=60_000)
    visitor.sees("#tasks-found", visitor.like("tasks_found", first=1, last=10))
    visitor.press(visitor.button("tasks_after"))
    visitor.sees("#tasks-found", visitor.like("tasks_found", first=11, last=20))
    tick_easy(visitor)
    visitor.sees(FACTS, visitor.like("fact_samples"))
    visitor.stage("benchmark-2-picker")
    find(visitor, "mmlu")
    visitor.tick("#find-sort", visitor.word("sort_group"))
    visitor.sees("#task-rows", visitor.like("is_group"), visitor.word("data_missing"))
    page.locator("#task-ticks label").first.click()
    visitor.sees("#benchmark-notice", "PROOFBENCH_DATA")
    visitor.press(page.locator("#chosen label").last)
    expect(page.locator("#chosen label")).to_have_count(2)
    visitor.press(visitor.button("pick_close"))


def tick_easy(visitor: Visitor) -> None:
    """The task whose data is here, and how it is described."""
    visitor.tick("#find-sort", visitor.word("sort_all"))
    find(visitor, "arc_easy")
    named = visitor.page.locator("b", has_text=re.compile("^arc_easy$"))
    easy = visitor.page.locator("#task-rows li").filter(has=named)
    visitor.sees(easy, visitor.word("n_samples", n=N_EASY), visitor.like("n_shots_own"), visitor.word("data_here"))
    expect(easy.locator(".tag").first).to_be_attached()
    visitor.press(visitor.page.locator("#task-ticks").get_by_label("arc_easy", exact=True))
    visitor.sees("#chosen", "arc_easy")


def find(visitor: Visitor, words: str) -> None:
    visitor.page.locator("#find-tasks :is(input, textarea)").fill(words)
    visitor.sees(visitor.page.locator("#task-rows li").first, words)


def shots_limit_and_seed_become_a_command(visitor: Visitor) -> None:
    for name in ("n_shots", "limit", "example_seed", "chat_template", "compare_with_base"):
        visitor.sees(option(name), visitor.label(BenchmarkConfig, name))
    for name, value in (("n_shots", "0"), ("limit", str(LIMIT)), ("example_seed", "3")):
        visitor.fill(option(name), value)
    visitor.unfold(visitor.fold_named("show_command", ".options:visible"))
    command = visitor.page.locator("#benchmark-command textarea")
    for flag in ("--shots=0", f"--limit={LIMIT}", "--seed=3"):
        expect(command).to_have_value(re.compile(flag), timeout=60_000)


def the_template_decides_the_first_prompt(visitor: Visitor) -> None:
    """Auto, on and off; without its template an instruct model is warned about."""
    visitor.offers(option("chat_template"), "auto", "on", "off")
    warning = FINDINGS["instruct-without-template"][1][visitor.view.language == "zh"]
    visitor.choose(option("chat_template"), "off")
    visitor.sees("#preflight", warning)
    visitor.unfold(visitor.fold_named("first_prompt"))
    visitor.sees("#first-prompts", visitor.word("without_template"))
    visitor.stage("benchmark-4-no-template")
    for way in ("on", "auto"):
        visitor.choose(option("chat_template"), way)
        visitor.sees("#first-prompts", visitor.word("with_template"), "<|im_start|>user")
        expect(visitor.page.locator("#preflight")).not_to_contain_text(warning, use_inner_text=True)


def the_card_before_the_start_says_what_it_takes(visitor: Visitor) -> None:
    facts = ("requests", "tokens", "time", "memory", "download")
    visitor.sees(FACTS, *(visitor.word(f"fact_{name}") for name in facts), visitor.like("fact_samples"))
    visitor.sees(FACTS, visitor.like("about_time"), visitor.word("no_download"), visitor.word("all_here"))
    visitor.sees(FACTS, re.compile(r"[\d.]+ [MG]B"))
    visitor.stage("benchmark-5-before")


def start(visitor: Visitor) -> None:
    visitor.sees(FACTS, visitor.like("about_time"))
    visitor.press("#benchmark-start")


def a_run_is_watched_stopped_and_resumed(visitor: Visitor, site: Site) -> None:
    card = visitor.page.locator(CARD)
    with slowed(site.host, 0.4):
        start(visitor)
        visitor.sees(CARD, visitor.word("state_running"), visitor.word("col_done"), visitor.word("score_so_far"))
        visitor.sees(CARD, visitor.like("samples_of"), visitor.like("time_left"), re.compile(r"[1-9] / \d"))
        visitor.sees(CARD, visitor.one_of("samples_per_second", "samples_per_minute"))
        visitor.sees(card.locator("td.num", has_text="[").first, re.compile(r"[↑↓] [\d.]+ \[.+, .+\]"))
        visitor.unfold(visitor.fold_named("run_details"))
        visitor.sees("#benchmark-details", visitor.word("last_sample"), visitor.word("log_title"))
        visitor.stage("benchmark-6-running")
        visitor.press("#benchmark-stop")
        visitor.sees(CARD, visitor.word("state_cancelled"), visitor.word("advice_cancelled"))
    visitor.sees(visitor.page.locator(RUNS).first, visitor.word("state_cancelled"))
    visitor.stage("benchmark-7-stopped")
    visitor.press("#benchmark-resume")
    is_done(visitor, 1)


def is_done(visitor: Visitor, n_runs: int) -> None:
    """So many runs have come to their end, the last of them is shown."""
    expect(visitor.page.locator(f"{RUNS}.good")).to_have_count(n_runs, timeout=180_000)
    visitor.sees(CARD, visitor.word("state_done"))


def an_adapter_is_asked_the_same(visitor: Visitor) -> None:
    visitor.choose("#adapter", "poet")
    visitor.sees("#asked-model", MODEL, "poet")
    visitor.press("#suite-smoke")
    visitor.press(visitor.button("pick_tasks"))
    tick_easy(visitor)
    visitor.press(visitor.button("pick_close"))
    choose_own_tasks(visitor)
    visitor.page.locator(f"{option('compare_with_base')} input").check()
    visitor.sees(FACTS, visitor.word("twice"))
    visitor.page.locator(f"{option('compare_with_base')} input").uncheck()
    start(visitor)
    is_done(visitor, 2)
    visitor.sees(CARD, "poet")


def another_run_is_asked_otherwise(visitor: Visitor) -> None:
    """Without the template, which no run before can be compared with; then the one before is chosen again."""
    page = visitor.page
    visitor.choose(option("chat_template"), "off")
    visitor.press("#suite-smoke")
    visitor.sees(FACTS, visitor.word("fact_samples", n=8 * LIMIT))
    start(visitor)
    is_done(visitor, 3)
    page.locator("#benchmark-list label").nth(1).click()
    visitor.sees("#results-head", "poet", visitor.word("result_run_done"))
    visitor.stage("benchmark-8-runs")
