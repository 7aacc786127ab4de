"""Tools beside the benchmark: one ruler for all precisions of a model, and the template doctor."""

import gradio as gr

from eval.tasks.listing import is_listed
from eval.tasks.own import placed
from eval.tasks.suites import QUICK, SMOKE
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.doctor import build_doctor
from llm_app.web.benchmark.ruler import build_ruler
from llm_app.web.failures import SentenceError

# The tasks that come with the program go by their names, not by the paths of their files.
OWN = {entry.task.rpartition("/")[2].removesuffix(".yaml"): entry.task for entry in SMOKE.entries}
OFFERED = (*OWN, *(entry.task for entry in QUICK.entries))


def build_tools(page: gr.Blocks, services: Services) -> None:
    """Both tools, each in a fold of its own."""
    find = TaskNames(is_public=services.settings.is_public)
    with gr.Accordion(text.label("tool_ruler"), open=False, elem_classes=["fold", "tools"], elem_id="tool-ruler"):
        build_ruler(page, services, OFFERED, find)
    with gr.Accordion(text.label("tool_doctor"), open=False, elem_classes=["fold", "tools"], elem_id="tool-doctor"):
        build_doctor(services, OFFERED, find)


class TaskNames:
    """What a typed name of a task stands for. Files of this machine are tasks for its owner only."""

    def __init__(self, *, is_public: bool) -> None:
        self._is_public = is_public

    def __call__(self, name: object) -> str:
        """Raises: SentenceError for a name of no task."""
        if not isinstance(name, str):
            raise SentenceError("wrong_value")
        name = name.strip()
        if name in OWN:
            return OWN[name]
        if is_listed(name):
            return name
        if not self._is_public and name.endswith((".yaml", ".yml")):
            return placed(name)
        raise SentenceError("tool_no_task", task=name[:80])
