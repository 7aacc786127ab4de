"""Did it help? Choosing what is compared, the verdict, and the samples that were fixed or broken."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark import comparison_view
from llm_app.web.benchmark.baselines import likely_pair, offered, others_of, partner_of, title
from llm_app.web.benchmark.changes import KINDS, Changes
from llm_app.web.benchmark.results_cache import Shelf
from llm_app.web.benchmark.samples_controls import QUICK, Browser, Update, build_browser
from llm_app.web.failures import SentenceError, failed
from llm_app.web.html import GONE, html, unfolded
from llm_app.web.views import notice
from llm_app.web.visitor import runs_of

MAX_CANDIDATES = 6
UNLIKE = "≠"  # before a run in the menu that cannot be compared with the one that is shown


@dataclass(frozen=True)
class Choice:
    """What is compared, and where it is shown."""

    baseline: gr.Dropdown
    candidates: gr.Dropdown
    compare: gr.Button
    partner: gr.Button
    verdict: gr.HTML
    samples: gr.Column

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]


def build_comparison(
    services: Services, shelf: Shelf, selected: gr.State, compared: gr.State, *, head: gr.HTML, tab: gr.Tab
) -> None:
    """The part and its handlers. `compared` gets the ids of what was compared, baseline first.

    `head`: names the run that is shown once it is over. `tab`: where the part stands.
    """
    with gr.Row(elem_classes="compare-controls", equal_height=False):
        baseline = gr.Dropdown(
            [], label=text.label("col_baseline"), info=None, min_width=0, scale=3, elem_id="compare-baseline"
        )  # fmt: skip
        candidates = gr.Dropdown(
            [], label=text.label("result_compared_with_it"), multiselect=True, max_choices=MAX_CANDIDATES, min_width=0,
            scale=3, elem_id="compare-candidates",
        )  # fmt: skip
        compare = gr.Button(
            text.label("result_compare_runs"), variant="primary", scale=0, min_width=0, elem_id="compare-runs"
        )  # fmt: skip
        partner = gr.Button(
            text.label("result_base_or_adapter"), scale=0, min_width=0, elem_id="compare-partner", elem_classes=GONE
        )  # fmt: skip
    verdict = html("", elem_id="verdict")
    with gr.Column(elem_id="changes", elem_classes=[GONE], min_width=0) as samples:
        browser = build_browser("changes", KINDS)
    choice = Choice(baseline, candidates, compare, partner, verdict, samples)
    handlers = ComparisonHandlers(services, shelf, choice, browser, compared)

    everything = [*choice.all(), compared, *browser.all()]
    selected.change(handlers.choose, [selected], everything, **QUICK)
    # A run is shown from its start on, where there is nothing yet that it could be compared by.
    gr.on([head.change, tab.select], handlers.fill, [selected, baseline], everything, **QUICK)
    slow: dict[str, Any] = {
        "show_progress": "hidden", "api_visibility": "private", "concurrency_id": "results", "concurrency_limit": 4
    }  # fmt: skip
    compare.click(handlers.compare, [baseline, candidates], everything, **slow)
    partner.click(handlers.compare_partner, [selected], everything, **slow)
    browser.connect(handlers, compared)


class ComparisonHandlers(Changes):
    """What the part does. Runs are named by ids of the visitor's own store; no others can be reached."""

    def __init__(
        self, services: Services, shelf: Shelf, choice: Choice, browser: Browser, compared: gr.State
    ) -> None:
        super().__init__(services, shelf, browser)
        self._choice, self._compared = choice, compared

    def choose(self, request: gr.Request, selected: object) -> Update:
        """Another run is shown: offer what it can be compared with."""
        c = self._choice
        nothing: Update = {
            c.baseline: gr.update(choices=[], value=None), c.candidates: gr.update(choices=[], value=[]),
            c.partner: unfolded(False), c.verdict: "", c.samples: unfolded(False), self._compared: (),
        }  # fmt: skip
        if not selected:
            return nothing
        try:
            store = runs_of(request, self._services)
            runs = offered(store)
            run = next((run for run in runs if run.id == selected), None)
            others = others_of(run, runs, store) if run else []
        except Exception as error:
            return nothing | {c.verdict: failed(error)}
        if run is None:
            return nothing | {c.verdict: notice(text.both("result_compare_later"))}
        names = [(f"{UNLIKE} {title(one.run)}" if one.why_not else title(one.run), one.run.id) for one in others]
        choices = [(title(run), run.id), *names]
        baseline, candidate = likely_pair(run, others) or (None, run.id)
        return nothing | {
            c.baseline: gr.update(choices=choices, value=baseline),
            c.candidates: gr.update(choices=choices, value=[candidate]),
            c.compare: gr.update(interactive=bool(others)),
            c.partner: unfolded(partner_of(run, others) is not None),
            c.verdict: comparison_view.offers([(title(one.run), one.why_not) for one in others]),
        }

    def fill(self, request: gr.Request, selected: object, baseline: object) -> Update:
        """The run has ended, or the part is opened: what was offered stays, and nothing is offered no longer."""
        return {self._choice.verdict: gr.skip()} if baseline else self.choose(request, selected)

    def compare(self, request: gr.Request, baseline: object, candidates: object) -> Iterator[Update]:
        """Put the chosen runs side by side."""
        try:
            runs = _checked(baseline, candidates)
        except Exception as error:
            yield {self._choice.verdict: failed(error)}
            return
        if not runs:
            yield {self._choice.verdict: notice(text.both("result_choose_two_runs"), "warning")}
            return
        yield from self._compare(request, runs)

    def compare_partner(self, request: gr.Request, selected: object) -> Iterator[Update]:
        """Base against adapter, whichever of them is shown."""
        try:
            store = runs_of(request, self._services)
            runs = offered(store)
            run = next((run for run in runs if run.id == selected), None)
            other = partner_of(run, others_of(run, runs, store)) if run else None
            if run is None or other is None:
                raise SentenceError("result_no_partner")
        except Exception as error:
            yield {self._choice.verdict: failed(error)}
            return
        pair = (run.id, other.id) if other.adapter else (other.id, run.id)
        chosen = {self._choice.baseline: pair[0], self._choice.candidates: [pair[1]]}
        yield from ({**chosen, **update} for update in self._compare(request, pair))

    def _compare(self, request: gr.Request, runs: Sequence[str]) -> Iterator[Update]:
        c = self._choice
        yield {c.verdict: notice(text.both("result_comparing_runs")), c.samples: unfolded(False)}
        try:
            found = self._shelf.compared(self.folders(request, runs))
        except Exception as error:
            yield {c.verdict: failed(error), self._compared: ()}
            return
        has_tasks = any(one.comparison.tasks for one in found)
        yield {
            c.verdict: comparison_view.verdicts([one.comparison for one in found]),
            c.samples: unfolded(has_tasks), self._compared: tuple(runs),
            self._browser.kind: "all", self._browser.search: "",
            **(self.samples(request, tuple(runs), [None, "all", "", False, 0]) if has_tasks else {}),
        }  # fmt: skip


def _checked(baseline: object, candidates: object) -> tuple[str, ...]:
    """Ids, baseline first; nothing as long as there are fewer than two.

    Raises: SentenceError for anything else.
    """
    if baseline is None or baseline == "" or candidates is None or candidates == []:
        return ()
    if not isinstance(baseline, str) or not isinstance(candidates, list) or len(candidates) > MAX_CANDIDATES:
        raise SentenceError("wrong_value")
    if not all(isinstance(candidate, str) for candidate in candidates):
        raise SentenceError("wrong_value")
    others = [candidate for candidate in dict.fromkeys(candidates) if candidate != baseline]
    return (baseline, *others) if others else ()
