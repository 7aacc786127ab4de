"""Two training runs over each other: their curves, and the settings in which they differ."""

from typing import Any

import gradio as gr

from eval.report.markup import Markup, element
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.store import Run, RunStore
from llm_app.jobs.train import KIND, config_of
from llm_app.jobs.train_log import read_log
from llm_app.options import Text
from llm_app.services import Services
from llm_app.training.compare_configs import differences
from llm_app.training.config import TrainConfig
from llm_app.web import text
from llm_app.web.benchmark.results_markup import block, said, told
from llm_app.web.failures import SentenceError, failed
from llm_app.web.html import html
from llm_app.web.runs.views import what, when
from llm_app.web.text import STRINGS, filled
from llm_app.web.tune.curves import Line, Points, curves
from llm_app.web.tune.settings_view import difference_table
from llm_app.web.visitor import runs_of

N_OFFERED = 100  # newest runs that a run can be laid over
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
Update = dict[Any, Any]


def build_overlay(services: Services, selected: gr.State) -> None:
    """The fold and its handlers. `selected`: the id of the run that is shown."""
    with gr.Accordion(text.label("tune_overlay"), open=False, elem_classes=["fold", "overlay"], elem_id="tune-overlay"):
        other = gr.Dropdown(
            [], value=None, label=text.label("tune_overlay_with"), min_width=0, interactive=True,
            elem_id="overlay-other",
        )  # fmt: skip
        shown = html("", elem_id="overlay-shown")
    handlers = OverlayHandlers(services, other, shown)
    selected.change(handlers.offer, [selected], [other, shown], **QUICK)
    other.input(handlers.draw, [selected, other], [other, shown], **QUICK)


class OverlayHandlers:
    """What the fold does. Runs are named by ids of the visitor's own store."""

    def __init__(self, services: Services, other: gr.Dropdown, shown: gr.HTML) -> None:
        self._services, self._other, self._shown = services, other, shown

    def offer(self, request: gr.Request, selected: object) -> Update:
        """Another run is shown: which ones can be laid over it."""
        try:
            store = runs_of(request, self._services)
            choices = [(title(run), run.id) for run in trainings(store) if run.id != selected]
        except Exception as error:
            return {self._other: gr.update(choices=[], value=None), self._shown: failed(error)}
        hint = "" if choices else block(element("p", said("tune_overlay_needs_two"), class_="quiet"))
        return {self._other: gr.update(choices=choices, value=None), self._shown: hint}

    def draw(self, request: gr.Request, selected: object, other: object) -> Update:
        """Both runs."""
        try:
            if not isinstance(selected, str) or not isinstance(other, str) or not selected:
                raise SentenceError("wrong_value")
            store = runs_of(request, self._services)
            runs = store.read(selected), store.read(other)
            return {self._shown: overlay([store.open(run.id) for run in runs], (title(runs[0]), title(runs[1])))}
        except Exception as error:
            return {self._shown: failed(error)}


def trainings(store: RunStore) -> list[Run]:
    """Training runs of an owner, newest first."""
    return [run for run in store.page(0, N_OFFERED) if run.kind == KIND]


def title(run: Run) -> str:
    """A run in a menu: when, what, and the end of its id."""
    return f"{when(run.created)[5:]} · {what(run)[0]} · {run.id[-4:]}"


def overlay(folders: list[RunFolder], names: tuple[str, str]) -> str:
    """Curves of two runs, and a table of the settings that differ.

    Raises: UserError if one of them is damaged.
    """
    one, other = (config_of(folder.spec()) for folder in folders)
    lines = [line for number, folder in enumerate(folders) for line in _lines(folder, number)]
    n_steps = max((line.points[-1][0] for line in lines if line.points), default=0.0)
    names_of = [element("li", name, class_=f"run-{number} key") for number, name in enumerate(names)]
    return block(
        element("ul", *names_of, class_="keys"), curves(STRINGS["tune_loss_axis"], lines, n_steps),
        _differences(one, other, names),
    )


def _differences(one: TrainConfig, other: TrainConfig, names: tuple[str, str]) -> Markup:
    heading = element("h4", told(STRINGS["tune_differences"]))
    return element("div", heading, difference_table(TrainConfig, differences(one, other), names), class_="below")


def _lines(folder: RunFolder, number: int) -> list[Line]:
    """The validation losses of a run; the training losses where it has none of them."""
    log = read_log(folder)
    letter = "AB"[number]
    if len(log.validations) > 1:
        points = [(float(found.step), found.loss) for found in log.validations]
        return [Line(_named("tune_overlay_validation", letter), number, points, has_marks=True)]
    training = Points()
    for step in log.steps:
        training.add(float(step.step), step.loss)
    return [Line(_named("tune_overlay_training", letter), number, training.all())]


def _named(name: str, letter: str) -> Text:
    return filled(name, run=letter)
