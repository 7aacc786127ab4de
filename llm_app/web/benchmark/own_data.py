"""A person's own data on the Benchmark tab: upload a table, say what its columns are, keep it as a task."""

from typing import Any

import gradio as gr

from eval.tasks.own_file import Kind
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.benchmark.own_data_guess import ROLES
from llm_app.web.benchmark.own_data_handlers import OwnDataHandlers, Parts
from llm_app.web.benchmark.own_data_trial import FORMS, MAX_PROMPT_CHARACTERS
from llm_app.web.html import html

KIND_NAMES: dict[Kind, str] = {
    "exact_match": "kind_exact_match", "multiple_choice": "kind_multiple_choice",
    "classification": "kind_classification", "generation": "kind_generation", "perplexity": "kind_perplexity",
}  # fmt: skip
ROLE_NAMES = {
    "text": "role_text", "source": "role_source", "question": "role_question", "choices": "role_choices",
    "target": "role_target", "answer": "role_answer", "label": "role_label",
}  # fmt: skip
FORM_NAMES = {
    "auto": "form_auto", "text": "form_text", "letter": "form_letter", "from_0": "form_from_0",
    "from_1": "form_from_1",
}  # fmt: skip


def build_own_data(page: gr.Blocks, services: Services) -> gr.State:
    """The part, in the place where it is called.

    The state is (path, word by chance) of the task file to be asked next, or None.
    """
    task: gr.State = gr.State(None)
    html(f'<p class="intro">{text.both("own_intro")}</p>')
    with gr.Row(elem_classes="own-data", equal_height=False):
        with gr.Column(elem_classes="own-made", min_width=0, scale=3):
            file = gr.File(label=text.label("own_file"), file_count="single", height=112, elem_id="own-file")
            said = html("", elem_id="own-notice")
            head = html("", elem_id="own-head")
            # The style sheet shows it once there is a table above: gradio would show its hidden parts along with it.
            with gr.Column(elem_classes="own-form", min_width=0):
                kind, columns, rest = _form()
                trial = html("", elem_id="own-trial")
                keep = gr.Button(text.label("own_keep"), variant="primary", elem_id="own-keep", scale=0, min_width=0)
        with gr.Column(elem_classes="own-kept", min_width=0, scale=1):
            kept = gr.Dropdown(
                [], value=None, label=text.label("own_kept"), interactive=True, elem_id="own-kept",
            )  # fmt: skip
            with gr.Row(elem_classes="own-buttons"):
                use, delete, bring_back = (
                    gr.Button(text.label(name), size="sm", scale=0, min_width=0, elem_id=elem_id, visible=visible)
                    for name, elem_id, visible in (
                        ("own_use", "own-use", True), ("own_delete", "own-delete", True),
                        ("own_bring_back", "own-bring-back", "hidden"),
                    )  # fmt: skip
                )
            link = html("", elem_id="own-link")
    answers, prompt, name, language, skip = rest
    parts = Parts(
        file, said, head, kind, columns, answers, prompt, name, language, skip, trial,
        gr.State(None), task, kept, link, bring_back,
    )  # fmt: skip
    handlers = OwnDataHandlers(services, parts)
    _connect(page, handlers, parts, keep)
    for button, act in ((use, handlers.use), (delete, handlers.delete)):
        button.click(act, [kept], parts.all(), **QUICK)
    bring_back.click(handlers.restore, None, parts.all(), **QUICK)
    return task


QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}


def _connect(page: gr.Blocks, handlers: OwnDataHandlers, parts: Parts, keep: gr.Button) -> None:
    form, outputs = [parts.draft, *parts.inputs], parts.all()
    page.load(handlers.open, None, outputs, **QUICK)
    parts.file.upload(handlers.upload, [parts.file], outputs, **QUICK)
    parts.kind.input(handlers.choose_kind, form, outputs, **QUICK)
    changes = [part.input for part in parts.inputs if part not in (parts.kind, parts.prompt, parts.name)]
    changes += [parts.prompt.blur, parts.name.blur]
    gr.on(changes, handlers.change, form, [parts.notice, parts.trial], **QUICK)
    keep.click(handlers.keep, form, outputs, **QUICK)
    parts.kept.input(handlers.look_at, [parts.kept], outputs, **QUICK)


def _form() -> tuple[gr.Radio, dict[str, gr.Dropdown], tuple[Any, ...]]:
    kind = gr.Radio([(text.label(name), kind) for kind, name in KIND_NAMES.items()], label=text.label("own_kind"),
                    elem_id="own-kind")  # fmt: skip
    with gr.Row(elem_classes="own-columns"):
        columns = {
            role: gr.Dropdown(
                [], label=text.label(name), multiselect=role == "choices", visible="hidden", min_width=160,
                interactive=True, elem_id=f"own-{role}",
            )
            for role, name in ROLE_NAMES.items()
        }  # fmt: skip
        answers = gr.Dropdown(
            [(text.label(FORM_NAMES[form]), form) for form in FORMS], value="auto", label=text.label("own_answers"),
            visible="hidden", min_width=160, interactive=True, elem_id="own-answers",
        )  # fmt: skip
    prompt = gr.Textbox(
        label=text.label("own_prompt"), info=text.label("own_prompt_help"), lines=3, max_lines=12,
        max_length=MAX_PROMPT_CHARACTERS, elem_classes="option", elem_id="own-prompt",
    )  # fmt: skip
    with gr.Row(elem_classes="own-columns"):
        name = gr.Textbox(
            label=text.label("own_name"), info=text.label("own_name_help"), max_lines=1, max_length=64, min_width=160,
            elem_classes="option", elem_id="own-name",
        )  # fmt: skip
        language = gr.Textbox(
            label=text.label("own_language"), info=text.label("own_language_help"), max_lines=1, max_length=16,
            min_width=120, elem_classes="option", elem_id="own-language",
        )  # fmt: skip
    skip = gr.Checkbox(label=text.label("own_skip"), elem_id="own-skip")
    assert set(columns) == {role for roles in ROLES.values() for role in roles}
    rest = tuple(part for part in (answers, prompt, name, language, skip))
    return kind, columns, rest
