"""The command line that does what the forms of the Classify tab say."""

import shlex
from pathlib import Path
from typing import Any

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.table import SEPARATOR, Columns
from llm_app.classify.topics.config import TopicsConfig
from llm_app.config import ModelConfig, Settings
from llm_app.data.table import Reading
from llm_app.jobs.classify_open import Asked
from llm_app.jobs.command import PROGRAM
from llm_app.training.compare_configs import non_defaults
from llm_app.training.search_config import SearchConfig
from llm_app.web.classify.desk import Known
from llm_app.web.classify.entities_reading import Brought
from llm_app.web.classify.training import TrainingAsked
from llm_app.web.tune.command import option_words


def table_command(known: Known, asked: Asked, chat: ModelConfig | None, settings: Settings) -> str:
    """`classify` over the table. `chat`: how the model is loaded that is asked; None for a trained classifier."""
    words = [*PROGRAM, "classify"]
    if chat is None:
        words += ["--model", _place(asked.model, settings)]
    else:
        for name, value in non_defaults(chat).items():
            words += option_words(name, _place(value, settings) if name in ("model", "adapter") else value)
    if asked.labels:
        words += ["--labels", ",".join(asked.labels)]
    words += _table_words(known, settings)
    for name, value in non_defaults(asked.zero_shot).items() if chat is not None else ():
        words += option_words(name, value.replace("\n", r"\n") if isinstance(value, str) else value)
    return shlex.join([*words, "--output", f"{Path(known.rows.name).stem}-labelled.csv"])


def training_command(
    known: Known, asked: TrainingAsked[ClassifierConfig], settings: Settings, search: SearchConfig | None = None
) -> str:
    """`classify train` or `classify search` on the table, with every option that is not a default."""
    words = [*PROGRAM, "classify", "search" if search else "train", *_table_words(known, settings)]
    if known.laid.scored_on:
        words += ["--test-input", _place(known.laid.scored_on, settings)]
    if known.laid.drops:
        words.append("--drop-unlabelled")
    if asked.base:
        words += ["--model", _place(asked.base, settings)]
    if asked.name:
        words += ["--name", asked.name]
    for config in (asked.config, *([search] if search else [])):
        words += _option_words(config)
    return shlex.join(words)


def topics_command(known: Known, encoder: str, config: TopicsConfig, settings: Settings) -> str:
    """`classify topics` of the table. `encoder`: empty for the one that comes with the program."""
    words = [*PROGRAM, "classify", "topics", "--input", _place(known.laid.path, settings)]
    words += ["--text-column", known.rows.columns.text, *_reading_words(known.laid.reading)]
    if encoder:
        words += ["--model", _place(encoder, settings)]
    return shlex.join([*words, *_option_words(config), "--output", f"{Path(known.rows.name).stem}-topics.csv"])


def entities_commands(
    brought: Brought, source: str | Path, tagger: str, asked: TrainingAsked[EntityConfig], settings: Settings
) -> str:
    """What finds the same entities; of sentences with tags, what scores a tagger on them and what trains one.

    `source`: the file, or a text that has none; `tagger`: its name, empty where there is none.
    """
    program = [*PROGRAM, "classify", "entities"]
    if isinstance(source, Path):
        file = ["--input", _place(source, settings)]
    else:
        file = ["--", source] if source.startswith("-") else [source]
    commands = list[list[str]]()
    if tagger and brought.is_tagged:
        commands.append([*program, "score", "--model", _place(tagger, settings), *file])
    elif tagger:
        commands.append([*program, "find", "--model", _place(tagger, settings), *file])
    if brought.is_tagged and not settings.is_public:  # a public page trains none
        base = ["--model", _place(asked.base, settings)] if asked.base else []
        name = ["--name", asked.name] if asked.name else []
        commands.append([*program, "train", *file, *base, *name, *_option_words(asked.config)])
    return "\n".join(map(shlex.join, commands))


def _option_words(config: Any) -> list[str]:
    return [word for name, value in non_defaults(config).items() for word in option_words(name, value)]


def _table_words(known: Known, settings: Settings) -> list[str]:
    return [
        "--input", _place(known.laid.path, settings), *_column_words(known.rows.columns),
        *_reading_words(known.laid.reading),
    ]  # fmt: skip


def _column_words(columns: Columns) -> list[str]:
    words = ["--text-column", columns.text]
    for what in ("pair", "truth"):
        if name := getattr(columns, what):
            words += [f"--{what}-column", name]
    if columns.kind != "single":
        words += ["--kind", columns.kind]
    if columns.kind == "multi" and columns.separator != SEPARATOR:
        words += ["--label-separator", columns.separator]
    return words


def _reading_words(reading: Reading) -> list[str]:
    words = ["--encoding", reading.encoding] if reading.encoding else []
    if reading.separator:
        words += ["--separator", reading.separator.replace("\t", r"\t")]
    if reading.has_header is not None:
        words.append("--header" if reading.has_header else "--no-header")
    return words


def _place(path: Any, settings: Settings) -> str:
    """A public page names files without their folders."""
    return Path(path).name if settings.is_public else str(path)
