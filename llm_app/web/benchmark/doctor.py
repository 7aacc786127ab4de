"""The template doctor on the page: the exact first prompt, what is wrong with it, and a few samples both ways."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from eval.tasks.harness import TaskOptions
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.benchmark import load_suite
from llm_app.jobs.doctor import LOOKED_AT, examine, score_both_ways
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark import doctor_view
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import html
from llm_app.web.views import notice

WAYS = {"off": "tool_template_off", "on": "tool_template_on"}
Update = dict[Any, Any]


def build_doctor(services: Services, offered: Sequence[str], find: Callable[[object], str]) -> None:
    """The form and what is found."""
    html(f'<p class="quiet">{text.both("tool_doctor_about")}</p>')
    with gr.Row(elem_classes="tool-form", equal_height=False):
        task = gr.Dropdown(
            list(offered), value=offered[0], label=text.label("tool_task"), min_width=0, elem_id="doctor-task",
            allow_custom_value=not services.settings.is_public,
        )  # fmt: skip
        way = gr.Radio(
            [(text.label(label), value) for value, label in WAYS.items()], value="off",
            label=text.label("tool_template"), min_width=0, elem_id="doctor-way", elem_classes="segments",
        )  # fmt: skip
    with gr.Row(elem_classes="tool-buttons", equal_height=False):
        look = gr.Button(text.label("tool_look"), variant="primary", size="sm", scale=0, elem_id="doctor-look")
        both = gr.Button(text.label("tool_both_ways"), size="sm", scale=0, elem_id="doctor-both")
    said = html("", elem_id="doctor-notice")
    found, scored = html("", elem_id="doctor-found", elem_classes="results"), html("", elem_id="doctor-scored")
    handlers = DoctorHandlers(services, find, said, found, scored)
    # One at a time: each reads data sets, and the second asks the model.
    one: dict[str, Any] = {
        "show_progress": "hidden", "api_visibility": "private", "concurrency_id": "doctor", "concurrency_limit": 1
    }  # fmt: skip
    look.click(handlers.look, [task, way], [said, found], **one)
    both.click(handlers.both_ways, [task], [said, scored], **one)


class DoctorHandlers:
    """Looks at prompts of the loaded model; only `both_ways` asks it."""

    def __init__(
        self, services: Services, find: Callable[[object], str], said: gr.HTML, found: gr.HTML, scored: gr.HTML
    ) -> None:
        self._services, self._find = services, find
        self._said, self._found, self._scored = said, found, scored

    def look(self, task: object, way: object) -> Iterator[Update]:
        """The first prompts as they will be sent, and what would spoil a score."""
        yield {self._said: notice(text.both("tool_looking"))}
        try:
            if not isinstance(way, str) or way not in WAYS:
                raise SentenceError("wrong_value")
            host, name, is_templated = self._services.host, self._find(task), way == "on"
            model, loaded = EngineModel(host, adapter=host.adapter), host.loaded
            options = TaskOptions(limit=LOOKED_AT, uses_chat_template=is_templated)
            suite = load_suite([name], options, self._services.settings, model)
            diagnosis = examine(model, loaded, suite.tasks, uses_chat_template=is_templated)
        except Exception as error:
            yield {self._said: self._failed(error)}
            return
        yield {self._said: "", self._found: doctor_view.diagnosis(diagnosis)}

    def both_ways(self, task: object) -> Iterator[Update]:
        """A few samples without the chat template and with it."""
        yield {self._said: notice(text.both("tool_trying"))}
        try:
            host = self._services.host
            scores = score_both_ways(host, [self._find(task)], TaskOptions(), adapter=host.adapter)
            if host.loaded.template is None:
                raise SentenceError("tool_no_template")
        except Exception as error:
            yield {self._said: self._failed(error)}
            return
        yield {self._said: "", self._scored: doctor_view.both_ways(scores)}

    def _failed(self, error: Exception) -> str:
        request_id = secrets.token_hex(4)
        note_error(error, request_id)
        return error_notice(error, request_id)
