"""The Benchmark tab: what stands where, and which handler answers which event."""

from typing import Any

import gradio as gr

from eval.tasks.suites import SUITES
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark import preflight
from llm_app.web.benchmark.chooser import ChooseHandlers, Parts
from llm_app.web.benchmark.config import BenchmarkConfig
from llm_app.web.benchmark.live import BenchmarkTally
from llm_app.web.benchmark.own_data import build_own_data
from llm_app.web.benchmark.picker import Picker, PickerHandlers, build_picker
from llm_app.web.benchmark.preflight import Tasks
from llm_app.web.benchmark.results import build_results
from llm_app.web.benchmark.tools import build_tools
from llm_app.web.html import GONE, drawn, html, unfolded
from llm_app.web.options import Form, build_form
from llm_app.web.runs import panel
from llm_app.web.runs.kind import Kind

LABELS = {
    "smoke": "suite_smoke", "quick": "suite_quick", "full": "suite_full", "glue": "suite_glue",
    "forgetting": "suite_forgetting",
}
PICK, OWN = {False: "pick_tasks", True: "pick_close"}, {False: "own_data", True: "own_close"}
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# Only what goes through the queue tells the browser that a state has changed.
TOLD: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
LINE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 1}


def build_benchmark_tab(page: gr.Blocks, services: Services) -> None:
    """The tab's components and what they do."""
    tasks = Tasks(services)
    watched, selected = gr.State(()), gr.State("")
    html(f'<p class="intro">{text.both("benchmark_intro")}</p>')
    with gr.Row(elem_classes="work", equal_height=False):
        with gr.Column(elem_classes="steps", min_width=0):
            suites, pick, bring = _suites()
            picker = build_picker()
            with gr.Column(elem_id="own-data", elem_classes=["own-panel", GONE], min_width=0) as own_panel:
                own = build_own_data(page, services)
            parts = _before_start(suites, watched)
            card = panel.build_card("benchmark")
            build_results(page, services, selected)
            history = panel.build_history("benchmark")
            build_tools(page, services)
        with gr.Column(elem_classes="options", min_width=0), gr.Accordion(text.label("options"), elem_classes="panel"):
            asked = drawn(preflight.unknown_line(), elem_id="asked-model")
            form = build_form(BenchmarkConfig)
            with gr.Accordion(text.label("show_command"), open=False, elem_classes="fold"):
                parts.command.render()
    timer = panel.connect(
        page, services, _kind(services, tasks), card, history, watched=watched, selected=selected
    )
    picking = PickerHandlers(picker, services.settings.data)
    handlers = ChooseHandlers(services, tasks, parts, form, picking)
    _connect_choice(handlers, parts, form)
    _connect_picker(handlers, picking, parts, picker)
    asked_for = [picker.words, picker.sort, parts.choice]
    _folds(pick, PICK, picker.panel, "picker").then(picking.find, asked_for, picker.all(), **AT_ONCE)
    _folds(bring, OWN, own_panel, "own-panel")
    own.change(handlers.add, [parts.choice, own], parts.all(), **TOLD)
    gr.on([page.load, asked.load, timer.tick], lambda: preflight.loaded_line(services), None, asked, **AT_ONCE)


def _kind(services: Services, tasks: Tasks) -> Kind:
    empty = f'<section class="run empty"><p>{text.both("no_runs_yet")}</p></section>'
    return Kind(("benchmark",), BenchmarkTally, tasks.resume, empty, needs_model=True)


def _suites() -> tuple[dict[str, gr.Button], gr.Button, gr.Button]:
    """A button for each suite, one that opens the list of all tasks, one for a person's own data."""
    with gr.Row(elem_classes="choose", equal_height=False):
        html(f"<h2>{text.both('choose')}</h2>", elem_classes="step-box")
        suites = {
            suite.name: _button(LABELS[suite.name], f"suite-{suite.name}", elem_classes="suite") for suite in SUITES
        }
        return suites, _button("pick_tasks", "pick-tasks"), _button("own_data", "own-data-open")


def _button(name: str, elem_id: str, **look: Any) -> gr.Button:
    return gr.Button(text.label(name), elem_id=elem_id, size="sm", scale=0, min_width=0, **look)


def _before_start(suites: dict[str, gr.Button], watched: gr.State) -> Parts:
    """What is chosen, what is known of it, Start."""
    with gr.Column(elem_classes="before", min_width=0):
        about = html("", elem_id="suite-about")
        chosen = gr.CheckboxGroup(
            [], label=text.label("chosen"), container=False, elem_id="chosen",
            elem_classes=["chips", GONE],
        )  # fmt: skip
        with gr.Row(elem_classes="ready", equal_height=False):
            facts = html("", elem_id="preflight")
            start = gr.Button(text.label("start"), elem_id="benchmark-start", scale=0, min_width=0)
        notice = html("", elem_id="benchmark-notice")
        with gr.Accordion(text.label("first_prompt"), open=False, elem_classes=["fold", GONE]) as fold:
            prompts = html("", elem_id="first-prompts")
    command = gr.Textbox(
        label=text.label("command"), show_label=False, lines=2, max_lines=8, interactive=False, buttons=["copy"],
        elem_id="benchmark-command", elem_classes="command", render=False,
    )  # fmt: skip
    return Parts(suites, gr.State(()), chosen, about, facts, fold, prompts, start, notice, command, watched)


def _connect_choice(handlers: ChooseHandlers, parts: Parts, form: Form) -> None:
    outputs, settings = parts.all(), [parts.choice, *form.controls]
    for name, button in parts.suites.items():
        button.click(handlers.suite(name), None, outputs, **TOLD)
    parts.chosen.input(handlers.leave_out, [parts.choice, parts.chosen], outputs, **TOLD)
    parts.choice.change(handlers.show, parts.choice, outputs, **AT_ONCE)
    changes = [parts.choice.change, *(event for control in form.controls for event in _settled(control))]
    gr.on(
        changes, handlers.look, settings, outputs, trigger_mode="always_last", concurrency_id="look", **LINE
    )
    parts.start.click(handlers.start, settings, outputs, concurrency_id="tasks", **LINE)


def _settled(control: Any) -> list[Any]:
    """The events at which the person is done with a control: a text is not read while it is being typed."""
    return [control.submit, control.blur] if isinstance(control, gr.Textbox) else [control.input]


def _connect_picker(handlers: ChooseHandlers, picking: PickerHandlers, parts: Parts, picker: Picker) -> None:
    asked, outputs = [picker.words, picker.sort, parts.choice], picker.all()
    # Not `input`: words that are pasted in at once, or filled in by the browser, would not be looked for.
    gr.on([picker.words.change, picker.sort.input], picking.find, asked, outputs, trigger_mode="always_last", **AT_ONCE)
    picker.before.click(picking.before, [*asked, picker.place], outputs, **AT_ONCE)
    picker.after.click(picking.after, [*asked, picker.place], outputs, **AT_ONCE)
    picker.ticks.input(handlers.tick, [parts.choice, picker.names, picker.ticks], parts.all(), **TOLD)
    parts.choice.change(picking.mark, [parts.choice, picker.names], picker.ticks, **AT_ONCE)


def _folds(button: gr.Button, names: dict[bool, str], panel: gr.Column, name: str) -> Any:
    """The button opens the panel and closes it again."""
    is_open = gr.State(False)

    def turn(was_open: bool) -> tuple[bool, Any, Any]:
        return not was_open, unfolded(not was_open, name), gr.update(value=text.label(names[not was_open]))

    return button.click(turn, is_open, [is_open, panel, button], **AT_ONCE)
