"""Named entities: a text, a CoNLL file or a table comes in; a trained tagger marks what it names."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from llm_app.classify.entities.config import IDLE, EntityConfig
from llm_app.services import Services
from llm_app.web import text
from llm_app.web.buttons import small_button
from llm_app.web.classify.desk import MAX_PASTED
from llm_app.web.classify.entities_handlers import EntityHandlers, Parts, no_tagger, taggers
from llm_app.web.classify.entities_training import TaggerHandlers
from llm_app.web.classify.runs import Runs
from llm_app.web.classify.tagger_live import USE
from llm_app.web.classify.training import TrainingForm, build_training
from llm_app.web.html import GONE, clicks, html
from llm_app.web.tune.start import settled
from llm_app.web.views import notice

FILE_KINDS = [".conll", ".bio", ".iob", ".iob2", ".txt", ".tsv", ".csv", ".jsonl", ".json", ".parquet"]
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4}
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class EntityOptions:
    """Which tagger is asked, and how one is trained."""

    tagger: gr.Dropdown
    training: TrainingForm[EntityConfig]


def build_entity_options(services: Services) -> EntityOptions:
    """The controls, where they are called for."""
    names = taggers(services.settings)
    tagger = gr.Dropdown(
        names, value=names[0] if names else None, label=text.label("entities_tagger"),
        info=text.label("entities_tagger_help"), allow_custom_value=not services.settings.is_public, min_width=0,
        elem_classes="option", elem_id="entities-tagger", interactive=True,
    )  # fmt: skip
    classes = ["fold", *([GONE] if services.settings.is_public else [])]  # a public page trains none
    with gr.Accordion(text.label("tagger_fold"), open=False, elem_classes=classes):
        return EntityOptions(tagger, build_training(EntityConfig, "tagger", IDLE))


def offered(services: Services, chosen: object) -> Any:
    """The menu as it is now; the newest tagger is chosen where none was."""
    names = taggers(services.settings)
    return gr.update(choices=names) if chosen or not names else gr.update(choices=names, value=names[0])


def build_entities(services: Services) -> tuple[Parts, gr.Button]:
    """What changes, and the button of the example, where they are called for."""
    with gr.Row(elem_classes="choose", equal_height=False):
        html(f"<h2>{text.both('entities_title')}</h2>", elem_classes="step-box")
        example = small_button("table_example", "entities-example")
    words = gr.Textbox(
        label=text.label("entities_text"), placeholder=text.label("entities_text_help"), lines=5, max_lines=14,
        max_length=MAX_PASTED, elem_id="entities-text",
    )  # fmt: skip
    with gr.Accordion(text.label("entities_upload"), open=False, elem_classes="fold"):
        file = gr.File(
            label=text.label("entities_file"), file_count="single", file_types=list(FILE_KINDS), height=96,
            elem_id="entities-file",
        )  # fmt: skip
    with gr.Row(elem_classes="own-buttons"):
        find = small_button("entities_find", "entities-find", variant="primary")
        train = small_button("tagger_train", "tagger-train", *([GONE] if services.settings.is_public else []))
        stop = small_button("stop", "entities-stop", GONE, variant="stop")
        save = small_button("entities_save", "entities-save", GONE)
    is_dead_end = services.settings.is_public and not taggers(services.settings)  # told before anything is brought
    told = notice(text.both(no_tagger(services.settings)), "warning") if is_dead_end else ""
    said = html(told, elem_id="entities-notice", elem_classes="run-notice")
    about = html("", elem_id="entities-about")
    command = html("", elem_id="entities-command")
    found = html("", elem_id="entities-found", elem_classes="results")
    path, shown = gr.State(None), gr.State(None)
    return Parts(words, file, find, train, stop, save, said, about, found, path, shown, command), example


def connect_entities(
    services: Services, runs: Runs, parts: Parts, example: gr.Button, options: EntityOptions, saver: gr.HTML, *,
    watched: gr.State, selected: gr.State,
) -> None:  # fmt: skip
    """What they do. `saver`: takes what the browser saves as a file; `watched`: runs that were just started."""
    handlers, outputs = EntityHandlers(services, parts), parts.all()
    training = TaggerHandlers(services, runs, parts, options.training, options.tagger, watched)
    brought = [parts.text, parts.path]
    example.click(handlers.example, None, outputs, **QUICK)
    parts.file.upload(handlers.upload, [parts.file], outputs, **QUICK)
    parts.find.click(
        handlers.find, [*brought, options.tagger], outputs, show_progress="hidden", api_visibility="private",
        concurrency_id="entities", concurrency_limit=2, trigger_mode="once",
    )  # fmt: skip
    parts.stop.click(handlers.stop, None, None, **AT_ONCE)
    parts.save.click(handlers.save, [parts.shown], [saver], **AT_ONCE)
    parts.train.click(
        training.train, [*brought, *options.training.controls], [*outputs, watched], show_progress="hidden",
        api_visibility="private", concurrency_id="classify-start", concurrency_limit=1, trigger_mode="once",
    )  # fmt: skip
    asked: list[Any] = [parts.text, options.tagger, *options.training.controls]
    gr.on(
        [parts.path.change, *(event for control in asked for event in settled(control))], training.command,
        [*brought, options.tagger, *options.training.controls], parts.command, trigger_mode="always_last", **QUICK,
    )  # fmt: skip
    clicks(f"#classify-card button[name={USE}]").click(training.use, [selected], [*outputs, options.tagger], **QUICK)
