"""The controls of a list of samples, and one page of a longer list: what both browsers of the tab share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import gradio as gr

from eval.report.markup import element
from llm_app.web import text
from llm_app.web.benchmark.results_markup import block, said
from llm_app.web.failures import SentenceError
from llm_app.web.html import html

PAGE = 20  # samples that are shown at once
MAX_SEARCH = 200
Update = dict[Any, Any]
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class Pages(Protocol):
    """What the controls do; every one gives a page of samples."""

    @property
    def begin(self) -> Callable[..., Update]: ...
    @property
    def stay(self) -> Callable[..., Update]: ...
    @property
    def back(self) -> Callable[..., Update]: ...
    @property
    def on(self) -> Callable[..., Update]: ...


@dataclass(frozen=True)
class Browser:
    """Its components. `place` is how many samples stand before the first that is shown."""

    task: gr.Dropdown
    kind: gr.Radio
    search: gr.Textbox
    spaces: gr.Checkbox
    count: gr.HTML
    samples: gr.HTML
    back: gr.Button
    on: gr.Button
    place: gr.State

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]

    def asked(self) -> list[Any]:
        """Those that say what to show."""
        return [self.task, self.kind, self.search, self.spaces, self.place]

    def connect(self, pages: Pages, *runs: gr.State) -> None:
        """The events of the controls. Handlers get what says which runs are shown, then `asked`."""
        asked, outputs = [*runs, *self.asked()], self.all()
        gr.on(
            [self.task.input, self.kind.input, self.search.submit, self.search.blur],
            pages.begin, asked, outputs, **QUICK,
        )  # fmt: skip
        self.spaces.input(pages.stay, asked, outputs, **QUICK)
        self.back.click(pages.back, asked, outputs, **QUICK)
        self.on.click(pages.on, asked, outputs, **QUICK)


@dataclass(frozen=True)
class Wanted:
    """What the person asks to see, checked."""

    task: str
    kind: str
    words: str
    shows_spaces: bool
    place: int


def build_browser(name: str, kinds: Mapping[str, str]) -> Browser:
    """The controls and an empty list. `kinds`: value -> name of its label; the first is chosen."""
    with gr.Row(elem_classes="sample-controls", equal_height=False):
        task = gr.Dropdown(
            [], label=text.label("col_task"), filterable=True, min_width=0, elem_id=f"{name}-task", scale=2
        )  # fmt: skip
        search = gr.Textbox(
            label=text.label("result_search_samples"), placeholder=text.label("result_search_hint"), max_lines=1,
            max_length=MAX_SEARCH, min_width=0, elem_id=f"{name}-search", scale=2,
        )  # fmt: skip
        kind = gr.Radio(
            [(text.label(label), value) for value, label in kinds.items()], value=next(iter(kinds)),
            label=text.label("result_show_kind"), min_width=0, elem_id=f"{name}-kind", elem_classes="segments", scale=3,
        )  # fmt: skip
    with gr.Row(elem_classes="sample-pages", equal_height=False):
        count = html("", elem_id=f"{name}-count")
        spaces = gr.Checkbox(
            False, label=text.label("result_show_spaces"), container=False, min_width=0, scale=0,
            elem_id=f"{name}-spaces",
        )  # fmt: skip
        back = gr.Button(text.label("result_page_back"), size="sm", scale=0, min_width=0, elem_id=f"{name}-back")
        on = gr.Button(text.label("result_page_on"), size="sm", scale=0, min_width=0, elem_id=f"{name}-on")
    samples = html("", elem_id=f"{name}-list", elem_classes="sample-list")
    return Browser(task, kind, search, spaces, count, samples, back, on, gr.State(0))


def wanted(values: Sequence[object], tasks: Sequence[str], kinds: Sequence[str]) -> Wanted:
    """The values of `Browser.asked`, as a browser sent them.

    Raises: SentenceError for what no form of ours would send.
    """
    task, kind, words, spaces, place = values
    if not isinstance(kind, str) or kind not in kinds or not isinstance(spaces, bool):
        raise SentenceError("wrong_value")
    if not isinstance(words, str | None) or len(words or "") > MAX_SEARCH:
        raise SentenceError("wrong_value")
    if task is None or task == "":
        task = tasks[0] if tasks else ""
    if not isinstance(task, str) or (tasks and task not in tasks):
        raise SentenceError("wrong_value")
    start = place if isinstance(place, int) and not isinstance(place, bool) and place >= 0 else 0
    return Wanted(task, kind, (words or "").strip(), spaces, start)


def cut(numbers: Sequence[int], place: int) -> tuple[list[int], int]:
    """(the page that holds this place, where it begins): the last one if the list became shorter."""
    start = min(place, max(0, len(numbers) - 1)) // PAGE * PAGE
    return list(numbers[start : start + PAGE]), start


def position(start: int, n_shown: int, n: int, counts: Mapping[str, int]) -> str:
    """Samples 21 to 40 of 340, and how many there are of each kind: name of its sentence -> number."""
    range_ = said("result_sample_range", first=start + 1, last=start + n_shown, n=n) if n else said("result_no_sample")
    kinds = [element("span", said(name), f" {number:,}", class_="count") for name, number in counts.items()]
    return block(element("p", element("span", range_, class_="count"), *kinds, class_="quiet"))


def paged(browser: Browser, start: int, n_shown: int, n: int, counts: Mapping[str, int]) -> Update:
    """What the page buttons and the line beside them show."""
    return {
        browser.count: position(start, n_shown, n, counts),
        browser.back: gr.update(interactive=start > 0),
        browser.on: gr.update(interactive=start + n_shown < n),
        browser.place: start,
    }
