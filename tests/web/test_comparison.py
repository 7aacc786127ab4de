"""Did it help? What the page says of two runs, and that only runs of one's own are named."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from llm_app.services import Services
from llm_app.web.benchmark.baselines import others_of, partner_of
from llm_app.web.benchmark.changes import KINDS
from llm_app.web.benchmark.comparison import UNLIKE, Choice, ComparisonHandlers
from llm_app.web.benchmark.results_cache import Shelf
from llm_app.web.benchmark.samples_controls import Browser, build_browser
from llm_app.web.html import GONE
from tests.web.made_results import choice_event, choice_run
from tests.web.test_results import asking, services_of, words

BASE = [True] * 20 + [False] * 40
TUNED = [False] * 2 + [True] * 18 + [True] * 25 + [False] * 15  # 25 fixed, 2 broken


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[Services, ComparisonHandlers, Choice, Browser]]:
    services = services_of(tmp_path / "home")
    with gr.Blocks():
        choice = Choice(gr.Dropdown(), gr.Dropdown(), gr.Button(), gr.Button(), gr.HTML(), gr.Column())
        browser = build_browser("changes", KINDS)
        handlers = ComparisonHandlers(services, Shelf(services.settings), choice, browser, gr.State(()))
        yield services, handlers, choice, browser


def pair(services: Services, **second: Any) -> tuple[str, str]:
    base = choice_run(services.runs(), BASE)
    tuned = choice_run(services.runs(), TUNED, **({"adapter_name": "lora", "adapter": "a" * 64} | second))
    return base.id, tuned.id


def test_the_verdict_stands_on_top_with_difference_interval_p_and_what_would_show(made: Any) -> None:
    services, handlers, choice, _ = made
    base, tuned = pair(services)
    *_, shown = handlers.compare(asking(), base, [tuned])
    said = words(shown[choice.verdict])
    # 20/60 to 43/60; exact McNemar of 25 to 2: 2 * sum(C(27, k), k <= 2) / 2**27 = 5.6e-06 (scipy.stats.binomtest).
    for part in ("Overall: better.", "33.3 %", "71.7 %", "+38.3 ● better", "&lt; 0.001", "25 / 2 / 33"):
        assert part in said, part
    assert said.index("Overall") < said.index("Baseline")
    assert 'class="forest"' in shown[choice.verdict] and 'class="zero"' in shown[choice.verdict]


@pytest.mark.parametrize(("kind", "n"), [("all", 60), ("fixed", 25), ("broken", 2), ("changed", 27), ("unchanged", 33)])
def test_samples_are_told_apart_by_what_became_of_them(made: Any, kind: str, n: int) -> None:
    services, handlers, _, browser = made
    shown = handlers.begin(asking(), pair(services), "quiz", kind, "", False, 0)
    assert f"of {n}" in words(shown[browser.count])
    assert "Fixed 25" in words(shown[browser.count]) and "Broken 2" in words(shown[browser.count])


def test_a_changed_sample_has_both_answers_and_the_words_between_them(made: Any) -> None:
    services, handlers, _, browser = made
    shown = handlers.begin(asking(), pair(services), "quiz", "broken", "", False, 0)[browser.samples]
    assert "<del>yes</del>" in shown and "<ins>no</ins>" in shown and "tiny + lora" in shown


def test_of_a_broken_sample_the_right_answer_is_the_earlier_one_in_colour_and_in_words(made: Any) -> None:
    services, handlers, _, browser = made
    shown = handlers.begin(asking(), pair(services), "quiz", "broken", "", False, 0)[browser.samples]
    assert '<span class="turn lost"><del>yes</del>' in shown and "turn gained" not in shown
    said = " ".join(words(shown).split())
    assert "Expected" in said and said.index("✓ Right") < said.index("✗ Wrong")


def test_base_and_adapter_are_compared_in_one_click_whichever_is_shown(made: Any) -> None:
    services, handlers, choice, _ = made
    base, tuned = pair(services)
    for selected in (base, tuned):
        *_, shown = handlers.compare_partner(asking(), selected)
        assert (shown[choice.baseline], shown[choice.candidates]) == (base, [tuned])
        assert "Overall: better." in words(shown[choice.verdict])


def test_base_against_adapter_is_offered_where_there_are_both(made: Any) -> None:
    services, handlers, choice, _ = made
    base, _ = pair(services)
    alone = choice_run(services.runs(), BASE, name="other", weights="v" * 64).id
    for selected, is_offered in ((base, True), (alone, False)):
        assert (GONE not in handlers.choose(asking(), selected)[choice.partner]["elem_classes"]) is is_offered


def test_a_run_that_was_chosen_before_it_had_answers_is_offered_others_when_it_has_ended(made: Any) -> None:
    services, handlers, choice, _ = made
    base = choice_run(services.runs(), BASE).id
    begun = choice_run(services.runs(), [], n_asked=60, ends=False, precision="nf4", quantization="nf4").id
    before = handlers.choose(asking(), begun)
    assert before[choice.baseline]["choices"] == [] and "Once this run has answers" in words(before[choice.verdict])
    ended = services.runs().open(begun)
    with ended:
        ended.append([choice_event(n, is_right) | {"done": n + 1} for n, is_right in enumerate(TUNED)])
        ended.end("done", done=60, scores={})
    shown = handlers.fill(asking(), begun, before[choice.baseline]["value"])
    assert chosen(shown, choice) == (base, [begun])


def test_what_is_chosen_stays_when_the_part_is_opened_again(made: Any) -> None:
    services, handlers, choice, _ = made
    base, tuned = pair(services)
    assert list(handlers.fill(asking(), tuned, base)) == [choice.verdict]


def test_with_one_run_comparing_says_what_to_do_and_needs_no_number(made: Any) -> None:
    services, handlers, choice, _ = made
    run = choice_run(services.runs(), BASE).id
    for baseline, candidates in ((None, [run]), ("", None), (run, []), (run, None), (run, [run])):
        (shown,) = handlers.compare(asking(), baseline, candidates)
        assert "run the same tasks a second time" in words(shown[choice.verdict])
        assert 'class="request"' not in shown[choice.verdict]


def test_without_a_partner_the_button_says_so(made: Any) -> None:
    services, handlers, choice, _ = made
    *_, shown = handlers.compare_partner(asking(), choice_run(services.runs(), BASE).id)
    assert "There is no run of the same base" in words(shown[choice.verdict])


def test_runs_of_different_adapters_or_tasks_are_no_partners(made: Any) -> None:
    services, *_ = made
    pair(services, precision="nf4")
    first, second = services.runs().page()
    assert partner_of(first, others_of(first, [first, second], services.runs())) is None


def chosen(shown: dict[Any, Any], choice: Choice) -> tuple[Any, Any]:
    return shown[choice.baseline]["value"], shown[choice.candidates]["value"]


def test_the_base_of_an_adapter_is_the_baseline_whichever_of_the_two_is_shown(made: Any) -> None:
    services, handlers, choice, _ = made
    base, tuned = pair(services)
    choice_run(services.runs(), BASE, precision="nf4", quantization="nf4", created="2026-05-01T00:00:00")
    for selected in (base, tuned):
        assert chosen(handlers.choose(asking(), selected), choice) == (base, [tuned])


def test_of_two_precisions_the_higher_is_the_baseline(made: Any) -> None:
    services, handlers, choice, _ = made
    choice_run(services.runs(), BASE, weights="v" * 64, name="other")
    low = choice_run(services.runs(), BASE, precision="nf4", quantization="nf4").id
    high = choice_run(services.runs(), TUNED).id
    for selected in (low, high):
        assert chosen(handlers.choose(asking(), selected), choice) == (high, [low])


def test_runs_that_cannot_be_compared_stand_last_with_a_sign_and_the_reason(made: Any) -> None:
    services, handlers, choice, _ = made
    base, tuned = pair(services)
    odd = choice_run(services.runs(), TUNED, n_shots=5, created="2026-05-01T00:00:00").id
    shown = handlers.choose(asking(), base)
    names = shown[choice.baseline]["choices"]
    assert [run for _, run in names] == [base, tuned, odd]
    assert [name.startswith(UNLIKE) for name, _ in names] == [False, False, True]
    assert "the number of examples (shots) differs: 0 and 5" in words(shown[choice.verdict])
    assert chosen(handlers.choose(asking(), odd), choice) == (None, [odd])


def test_a_partner_that_was_asked_the_same_goes_before_a_newer_one(made: Any) -> None:
    services, *_ = made
    base, tuned = pair(services)
    choice_run(services.runs(), TUNED, n_shots=5, adapter_name="lora", adapter="a" * 64)
    store = services.runs()
    found = partner_of(store.read(base), others_of(store.read(base), store.page(), store))
    assert found is not None and found.id == tuned


def test_what_cannot_be_compared_says_why(made: Any) -> None:
    services, handlers, choice, browser = made
    base = choice_run(services.runs(), BASE).id
    other = choice_run(services.runs(), TUNED, n_asked=90, weights="v" * 64).id
    *_, shown = handlers.compare(asking(), base, [other])
    said = words(shown[choice.verdict])
    assert "cannot be compared" in said and "the limit differs: 60 and 90 samples" in said
    assert "样本上限不同" in shown[choice.verdict] and browser.samples not in shown


def test_several_runs_are_compared_with_one_baseline_and_corrected_together(made: Any) -> None:
    services, handlers, choice, browser = made
    base, tuned = pair(services)
    third = choice_run(services.runs(), BASE[::-1], weights="v" * 64, name="other").id
    *_, shown = handlers.compare(asking(), base, [tuned, third])
    assert "over 2 tests" in words(shown[choice.verdict]) and shown[choice.verdict].count('class="comparison"') == 2
    assert len(shown[browser.task]["choices"]) == 2


@pytest.mark.parametrize(("baseline", "candidates"), [
    ({"path": "/etc/passwd"}, ["a"]), ("a", "b"), ("a", [7]),
    ("a", ["b"] * 9), ("/etc/passwd", ["../../x"]), ("zzzzzzzzzzzz", ["yyyyyyyyyyyy"]),
])  # fmt: skip
def test_W6_a_choice_no_form_would_send_is_refused(made: Any, baseline: object, candidates: object) -> None:
    _, handlers, choice, _ = made
    *_, shown = handlers.compare(asking(), baseline, candidates)
    assert 'class="notice error"' in shown[choice.verdict]


def test_W9_the_run_of_another_visitor_cannot_be_compared_with(tmp_path: Path, made: Any) -> None:
    services = services_of(tmp_path / "public", is_public=True)
    _, _, choice, browser = made
    handlers = ComparisonHandlers(services, Shelf(services.settings), choice, browser, gr.State(()))
    mine = choice_run(services.runs("m" * 43), BASE).id
    theirs = choice_run(services.runs("o" * 43), TUNED, weights="v" * 64).id
    *_, shown = handlers.compare(asking("m" * 43), mine, [theirs])
    assert "There is no run" in shown[choice.verdict]
    offered = handlers.choose(asking("m" * 43), mine)[choice.candidates]
    assert [value for _, value in offered["choices"]] == [mine]
    assert not re.search(theirs, str(handlers.begin(asking("m" * 43), (mine, theirs), "quiz", "all", "", False, 0)[
        browser.samples]).split("request")[-1])  # fmt: skip
