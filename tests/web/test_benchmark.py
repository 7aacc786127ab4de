"""The Benchmark tab up to the result: the list of tasks, the card before the start, the run while it goes on."""

import json
from pathlib import Path

import gradio as gr
import pytest

from eval.report import rows_of
from eval.report.numbers import interval_text, score_text
from eval.tasks import listing
from eval.tasks.book import names
from eval.tasks.harness import TaskOptions, load_tasks
from llm_app.jobs.reports import read_report
from llm_app.web.benchmark import picker, preflight
from llm_app.web.benchmark.chooser import ChooseHandlers
from llm_app.web.benchmark.config import BenchmarkConfig
from llm_app.web.benchmark.live import BenchmarkTally
from llm_app.web.benchmark.preflight import Found, Tasks
from llm_app.web.html import GONE
from tests.web.bench import choose, look, own_task, start, watched
from tests.web.site import Site, serving


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(own_task(tmp_path_factory.mktemp("tasks")))


def test_the_list_has_every_task_group_and_tag_of_the_harness() -> None:
    assert set(names()) <= set(listing.search(""))


def test_a_search_finds_names_and_tags_the_closest_first() -> None:
    found = listing.search("GLUE")
    assert found[0] == "glue" and "sst2" in found  # sst2 only by its tag
    assert listing.search("mmlu chinese")[0] != listing.search("mmlu")[0]
    assert listing.search("no such words at all") == []


def test_without_words_the_well_known_stand_first() -> None:
    assert {"arc_easy", "hellaswag"} <= set(listing.search("")[:40])


def test_groups_and_tags_are_told_from_tasks() -> None:
    assert [listing.sort_of(name) for name in ("sst2", "mmlu", "glue")] == ["task", "group", "tag"]
    assert listing.describe("mmlu", None).n_tasks == 57


def test_what_lacks_data_is_marked(tmp_path: Path) -> None:
    described = listing.describe("sst2", tmp_path)
    assert (described.has_data, described.n_missing, described.asks) == (False, 1, ("multiple_choice",))
    assert "data is not here" in picker.rows([described])


def test_the_count_of_samples_is_that_of_the_loaded_task(hub_data: Path) -> None:  # oracle: the harness's own loader
    for name in ("sst2", "arc_easy"):
        described = listing.describe(name, hub_data)
        loaded = load_tasks([name], TaskOptions(), data=hub_data)
        assert described.has_data and described.n_samples == len(loaded.tasks[name].samples)


def test_auto_uses_the_template_where_there_is_one(site: Site) -> None:
    loaded = site.host.loaded
    assert BenchmarkConfig().uses_chat_template(loaded)
    assert not BenchmarkConfig(chat_template="off").uses_chat_template(loaded)


def test_the_card_before_the_start_counts_what_the_tasks_ask(site: Site, task: str) -> None:
    *_, counted, found = Tasks(site.services).look([task], BenchmarkConfig(limit=5))
    assert isinstance(found, Found) and isinstance(counted, Found)
    assert found.estimate.work.n_samples == found.estimate.work.n_requests == 5
    assert (counted.time, found.time) == ("measuring", "measured")
    card = preflight.facts(found)
    assert "5 samples" in card and "measured" in card and "无需下载" in card


def test_the_first_prompt_is_shown_with_its_special_tokens(site: Site, task: str) -> None:
    *_, found = Tasks(site.services).look([task], BenchmarkConfig(chat_template="on"))
    assert isinstance(found, Found)
    assert "&lt;|im_start|&gt;user" in preflight.prompts(found)


def test_an_instruct_model_without_its_template_is_warned_of(site: Site, task: str) -> None:
    *_, found = Tasks(site.services).look([task], BenchmarkConfig(chat_template="off"))
    assert isinstance(found, Found)
    assert "instruct-without-template" in [finding.name for finding in found.diagnosis.findings]
    assert 'class="notice warning"' in preflight.facts(found)


def test_the_command_says_the_same_as_the_form(site: Site) -> None:
    config = BenchmarkConfig(n_shots=0, limit=7, chat_template="on")
    line = preflight.command(["sst2"], config, site.host, site.services.settings)
    assert "--tasks=sst2" in line and "--shots=0" in line and "--limit=7" in line and "--chat-template" in line


def test_choosing_nothing_and_pressing_start_says_what_to_do(site: Site) -> None:
    frame = site.ask("benchmark-start", "click", "nothing")
    assert "Choose Smoke" in site.shown(frame, "benchmark-notice", ("benchmark-start", "click"))


def test_with_nothing_chosen_no_empty_fold_of_prompts_stays(site: Site) -> None:
    owners = (getattr(function.fn, "__self__", None) for function in site.page.fns.values())
    shown = next(owner for owner in owners if isinstance(owner, ChooseHandlers)).show(gr.Request(session_hash="x"), ())
    by_name = {getattr(part, "elem_id", None): value for part, value in shown.items()}
    fold = next(value for part, value in shown.items() if isinstance(part, gr.Accordion))
    assert GONE in fold["elem_classes"] and by_name["first-prompts"] == ""


def test_comparing_without_an_adapter_is_refused_in_a_sentence(site: Site, task: str) -> None:
    choose(site, "alone", task)
    frame = site.ask("benchmark-start", "click", "alone", option_compare_with_base=True)
    assert "no adapter is on" in site.shown(frame, "benchmark-notice", ("benchmark-start", "click"))


def test_missing_data_is_said_where_it_happens(site: Site) -> None:
    choose(site, "missing", "sst2")
    frame = site.ask("benchmark-start", "click", "missing")
    assert "not on this machine" in site.shown(frame, "benchmark-notice", ("benchmark-start", "click"))


def test_a_run_from_the_page_is_done_and_its_folder_says_what_was_asked(site: Site, task: str) -> None:
    run_id = start(site, "whole", task, option_limit="4", option_chat_template="on")
    assert site.services.queue.wait(run_id, 60)
    run, spec = site.services.runs().read(run_id), site.services.runs().open(run_id).spec()
    assert (run.status, run.n_done) == ("done", 4)
    assert spec["options"]["uses_chat_template"] is True and spec["options"]["limit"] == 4
    assert watched(site, "whole") == run_id and run_id in json.dumps(look(site))


def test_a_run_from_the_page_leaves_the_files_that_the_command_line_leaves(site: Site, task: str) -> None:
    run_id = start(site, "filer", task)
    assert site.services.queue.wait(run_id, 60)
    folder = site.services.settings.home / "runs" / run_id
    assert len(list(folder.rglob("results_*.json"))) == len(list(folder.rglob("samples_*.jsonl"))) == 1


def test_comparing_with_the_base_makes_two_runs_of_the_same_samples(
    tiny_llama: Path, tiny_adapter: Path, tmp_path: Path, task: str
) -> None:
    with serving(tmp_path, tiny_llama) as site:
        site.host.attach(str(tiny_adapter))
        last = start(site, "both", task, option_compare_with_base=True)
        assert site.services.queue.wait(last, 60)
        runs = site.services.runs().page()
        assert [run.adapter is None for run in runs] == [False, True], "the base was asked first"
        assert runs[0].status == runs[1].status == "done" and runs[0].n_done == runs[1].n_done


def test_the_tally_of_a_run_is_what_its_events_say(site: Site, task: str) -> None:
    run_id = start(site, "tally", task)
    assert site.services.queue.wait(run_id, 60)
    folder = site.services.runs().open(run_id)
    tally = BenchmarkTally(folder)
    for event in folder.events():
        tally.add(event)
    assert "6 / 6" in tally.body() and "exact_match" in tally.body()
    row = rows_of(read_report(str(folder.path), site.services.settings))[0]
    assert row.low is not None and f"{score_text(row.value, row.unit)} {interval_text(row)}" in tally.body()
    assert "sums #" in tally.details() and "done" in tally.details()


def test_what_a_model_writes_is_no_markup_in_the_log(site: Site, task: str) -> None:
    run_id = start(site, "markup", task)
    assert site.services.queue.wait(run_id, 60)
    tally = BenchmarkTally(site.services.runs().open(run_id))
    tally.add({
        "type": "result", "task": "sums", "sample": 0, "error": "<img src=x>{{a}}", "answers": [], "scores": {},
    })  # fmt: skip
    assert "<img" not in tally.details() and "{{" not in tally.details()
