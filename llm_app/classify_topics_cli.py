"""The command `classify topics`: clusters of the texts of a file with their key words; CSV or JSON for a plot."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_app.classify.topics.config import TopicsConfig
from llm_app.classify.topics.sheet import COLUMNS, rows_of
from llm_app.classify_text_cli import write
from llm_app.config import Settings
from llm_app.data_flags import add_reading_flags, reading_of
from llm_app.errors import UserError
from llm_app.flags import add_flags, read_flags
from llm_app.spoken import say

if TYPE_CHECKING:
    from llm_app.classify.topics.types import TopicMap
    from llm_app.data.table import Reading

EMBEDDED = "embedded"
N_SHOWN = 100  # characters of an example


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "topics", help="Clusters of texts, with key words and a map.", allow_abbrev=False
    )
    parser.add_argument("--input", required=True, metavar="FILE", help="A table, or plain text, one text on each line.")
    parser.add_argument("--text-column", metavar="NAME", help="The column that holds the text (default: guessed).")
    add_reading_flags(parser)
    parser.add_argument("--model", default=EMBEDDED, metavar="TEXT", help=f"The encoder (default {EMBEDDED}).")
    parser.add_argument("--output", metavar="FILE", help="Topic and position of each text: .csv, or .json for all.")
    parser.add_argument("--json", action="store_true", help="All on stdout, as JSON.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, TopicsConfig, "topics")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    config, settings = read_flags(options, TopicsConfig), Settings.from_environment()
    lines, texts = texts_of(options.input, options.text_column, reading_of(options))
    from llm_app.classify.topics.embedding import open_sentence_encoder
    from llm_app.classify.topics.find import find_topics
    from llm_app.classify.topics.types import Embedded, Grouped
    from llm_app.engine.catalog import embedded_encoder, find_model
    from llm_app.engine.turn import Turn

    folder = embedded_encoder() if options.model == EMBEDDED else find_model(options.model, settings).path
    for event in find_topics(texts, open_sentence_encoder(folder, Turn()), config):
        if isinstance(event, Embedded):
            say(f"{event.n_done:,} of {event.n:,} texts", is_last=False)
        elif isinstance(event, Grouped):
            say(f"{event.n_done} of {event.n} numbers of topics tried", is_last=False)
        else:
            found = event
    say(f"{len(found.topics):,} topics in {len(texts):,} texts" + _cut(found))
    if options.output:
        write(options.output, _file(options.output, found, lines, texts))
    if options.json:
        print(_json(found))
    else:
        _print(found, texts)
    return 0


def texts_of(path: str, column: str | None, reading: "Reading | None" = None) -> tuple[list[int], list[str]]:
    """Line and text of each row of a file; what cannot be read, and rows without a text, are told and left out.

    `column`: None is guessed, and told where there are several.
    Raises: UserError if the file cannot be read, or has no such column.
    """
    from llm_app.classify.guess import guess
    from llm_app.data.read import read_file

    table = read_file(Path(path).expanduser(), reading=reading)
    if column is None and len(table.columns) == 1:
        (column,) = table.columns
    elif column is None:
        column = guess(table).text
        say(f"column {column} holds the text; another one is --text-column NAME")
    if column not in table.columns:
        raise UserError(f"{table.name} has no column {column!r}: {', '.join(table.columns)}.", param="text_column")
    for note in table.notes:
        say(f"{table.name}: {note}")
    for bad in table.problems:
        say(f"{table.name}, line {bad.origin.line:,}: {bad.reason}")
    cells = [(row.line, row.cells.get(column)) for row in table.rows]
    found = [(line, text) for line, text in cells if isinstance(text, str) and text.strip()]
    if len(found) < len(cells):
        say(f"{table.name}: {len(cells) - len(found):,} rows have no text in {column!r}")
    return [line for line, _ in found], [text for _, text in found]


def _cut(found: "TopicMap") -> str:
    return f"; {found.n_cut:,} of them were cut" if found.n_cut else ""


def _print(found: "TopicMap", texts: list[str]) -> None:
    for topic in found.topics:
        words = ", ".join(word for word, _ in topic.words)
        print(f"topic {topic.number}  {topic.size:,} texts  {words}")
        for place in topic.examples:
            print(f"    {' '.join(texts[place].split())[:N_SHOWN]}")
    n_left = sum(point.topic < 0 for point in found.points)
    if n_left:
        print(f"{n_left:,} texts belong to no topic")


def _file(path: str, found: "TopicMap", lines: list[int], texts: list[str]) -> str:
    from eval.report.sheet import csv_text

    return _json(found) if Path(path).suffix == ".json" else csv_text(COLUMNS, rows_of(found, lines, texts))


def _json(found: "TopicMap") -> str:
    return json.dumps(asdict(found), ensure_ascii=False, allow_nan=False, indent=2)
