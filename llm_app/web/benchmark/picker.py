"""The list of all tasks, groups and tags: searched at once, described a page at a time, ticked to be chosen."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import gradio as gr

from eval.tasks.listing import Described, Sort, describe, search
from llm_app.options import Text
from llm_app.web import text
from llm_app.web.failures import SentenceError, error_notice
from llm_app.web.html import GONE, html, unfolded
from llm_app.web.text import both, filled, inert, pair
from llm_app.web.views import joined, notice

PAGE_TASKS = 10
MAX_WORDS = 200  # characters that are searched for
ASKS = {
    "multiple_choice": "asks_choices", "generate_until": "asks_text", "loglikelihood": "asks_likelihood",
    "loglikelihood_rolling": "asks_perplexity",
}  # fmt: skip
SORTS = {"task": "is_task", "group": "is_group", "tag": "is_tag"}
FILTERS = {"all": "sort_all", "task": "sort_task", "group": "sort_group", "tag": "sort_tag"}

Update = dict[Any, Any]


@dataclass(frozen=True)
class Picker:
    """Its components. `names`: those on the page that is shown; `place`: the number of that page."""

    panel: gr.Column
    words: gr.Textbox
    sort: gr.Radio
    ticks: gr.CheckboxGroup
    rows: gr.HTML
    before: gr.Button
    after: gr.Button
    found: gr.HTML
    names: gr.State
    place: gr.State

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]


def build_picker() -> Picker:
    """The panel, hidden until it is asked for."""
    with gr.Column(elem_id="picker", elem_classes=["picker", GONE], min_width=0) as panel:
        with gr.Row(elem_classes="find", equal_height=False):
            words = gr.Textbox(
                label=text.label("find_tasks"), show_label=False, placeholder=text.label("find_tasks"), lines=1,
                max_lines=1, max_length=MAX_WORDS, container=False, elem_id="find-tasks", min_width=0,
            )  # fmt: skip
            sorts = [(text.label(name), sort) for sort, name in FILTERS.items()]
            sort = gr.Radio(
                sorts, value="all", label=text.label("find_sort"), show_label=False, container=False,
                elem_id="find-sort", elem_classes="segments", min_width=0, scale=0,
            )  # fmt: skip
        with gr.Column(elem_classes="pick-rows ticks", min_width=0):
            rows = html("", elem_id="task-rows")
            ticks = gr.CheckboxGroup(
                [], label=text.label("task_list"), show_label=False, container=False, elem_id="task-ticks"
            )  # fmt: skip
        with gr.Row(elem_classes="pager", equal_height=False):
            before, after = _turn("tasks_before"), _turn("tasks_after")
            found = html("", elem_id="tasks-found")
        html(notice(both("data_help")), elem_classes="data-help")
    return Picker(panel, words, sort, ticks, rows, before, after, found, gr.State(()), gr.State(0))


def _turn(name: str) -> gr.Button:
    return gr.Button(
        text.label(name), elem_id=name.replace("_", "-"), elem_classes=["quiet", GONE], size="sm", scale=0, min_width=0,
    )  # fmt: skip


class PickerHandlers:
    """Search, turn pages, tick."""

    def __init__(self, picker: Picker, data: Path | None) -> None:
        self._picker, self._data = picker, data

    def find(self, words: object, sort: object, chosen: tuple[str, ...], place: int = 0) -> Update:
        """One page of what was found."""
        try:
            return self._found(words, sort, chosen, place)
        except SentenceError as error:
            return {self._picker.found: error_notice(error, secrets.token_hex(4))}

    def _found(self, words: object, sort: object, chosen: tuple[str, ...], place: int) -> Update:
        if not isinstance(words, str) or not isinstance(sort, str) or sort not in FILTERS:
            raise SentenceError("wrong_value")
        found = search(words[:MAX_WORDS], sort=None if sort == "all" else cast(Sort, sort))
        place = max(0, min(place, (len(found) - 1) // PAGE_TASKS))
        first = place * PAGE_TASKS
        names = found[first : first + PAGE_TASKS]
        picker = self._picker
        return {
            picker.names: tuple(names), picker.place: place,
            picker.ticks: gr.update(choices=[(name, name) for name in names], value=[n for n in names if n in chosen]),
            picker.rows: rows([describe(name, self._data) for name in names]),
            picker.before: unfolded(place > 0, "quiet"),
            picker.after: unfolded(first + len(names) < len(found), "quiet"),
            picker.found: both("tasks_found", first=first + 1, last=first + len(names), total=len(found))
            if found else notice(both("no_task_found")),
        }  # fmt: skip

    def before(self, words: object, sort: object, chosen: tuple[str, ...], place: int) -> Update:
        """The page before."""
        return self.find(words, sort, chosen, place - 1)

    def after(self, words: object, sort: object, chosen: tuple[str, ...], place: int) -> Update:
        """The page after."""
        return self.find(words, sort, chosen, place + 1)

    def mark(self, chosen: tuple[str, ...], names: tuple[str, ...]) -> Any:
        """The ticks of the page that is shown, after the choice was changed elsewhere."""
        return gr.update(value=[name for name in names if name in chosen])

    def ticked(self, ticks: object, names: tuple[str, ...], chosen: tuple[str, ...]) -> tuple[str, ...]:
        """What is chosen, now that these names of the page are ticked.

        Raises: UserError if a name is not on the page.
        """
        if not isinstance(ticks, list) or any(name not in names for name in ticks):
            raise SentenceError("wrong_value")
        kept = [name for name in chosen if name not in names or name in ticks]
        return (*kept, *(name for name in names if name in ticks and name not in kept))


def rows(found: Sequence[Described]) -> str:
    """The lines that stand under the tick boxes."""
    return f'<ol class="rows tasks">{"".join(_row(task) for task in found)}</ol>' if found else ""


def _row(task: Described) -> str:
    tags = "".join(f'<span class="tag">{inert(tag)}</span>' for tag in task.tags[:4])
    sort = filled(SORTS[task.sort], n=task.n_tasks) if task.sort != "task" else ("", "")
    asks = [filled(ASKS[name]) for name in task.asks if name in ASKS]
    n_samples = filled("n_samples", n=task.n_samples) if task.n_samples is not None else ("", "")
    shots = filled("n_shots_own", n=task.n_shots) if task.n_shots is not None else ("", "")
    return (
        f'<li><span class="what"><b>{inert(task.name)}</b>{tags}</span>'
        f'<span class="about">{pair(joined(sort, *asks, shots))}</span>'
        f'<span class="count">{pair(n_samples)}</span>{_data(task)}</li>'
    )


def _data(task: Described) -> str:
    if task.has_data is None:
        return '<span class="data"></span>'
    if task.has_data:
        return f'<span class="data here">● {both("data_here")}</span>'
    is_part = 0 < task.n_missing < task.n_tasks
    words: Text = filled("data_partly", n=task.n_missing, total=task.n_tasks) if is_part else filled("data_missing")
    return f'<span class="data missing">○ {pair(words)}</span>'
