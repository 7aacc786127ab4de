"""The commands `classify entities`: train a tagger on a CoNLL file, find entities in texts, score a tagger."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_app.classify.entities.config import EntityConfig
from llm_app.classify_topics_cli import texts_of
from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.flags import add_flags, read_flags
from llm_app.spoken import say

if TYPE_CHECKING:
    from llm_app.classify.entities.scores import EntityScores, SpanScore
    from llm_app.classify.entities.words import Found
    from llm_app.data.conll import TaggedFile
    from llm_app.engine.turn import Turn

EMBEDDED = "embedded"
COLUMNS = ("row", "start", "end", "type", "probability", "text")


def add_parser(commands: Any) -> None:
    """The command `entities` with its own: train, find, score."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "entities", help="Named entities: train a tagger, find them, score it.", allow_abbrev=False
    )
    parts = parser.add_subparsers(dest="entities", metavar="COMMAND", required=True)

    train = parts.add_parser("train", help="Train on a CoNLL file, beside a baseline.", allow_abbrev=False)
    train.add_argument("--input", required=True, metavar="FILE", help="Sentences to learn from, in CoNLL format.")
    train.add_argument("--test-input", metavar="FILE", help="Sentences to score on (default: a share of --input).")
    train.add_argument("--output", required=True, metavar="DIR", help="Gets the tagger.")
    train.add_argument("--model", default=EMBEDDED, metavar="TEXT", help=f"The encoder (default {EMBEDDED}).")
    _add_columns(train)
    train.add_argument("--json", action="store_true", help="The scores as JSON.")
    train.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(train, EntityConfig, "training")

    find = parts.add_parser("find", help="Find entities in a text, or in each row of a file.", allow_abbrev=False)
    find.add_argument("text", nargs="?", metavar="TEXT", help="A text; each of its lines is a sentence.")
    find.add_argument("--model", required=True, metavar="M", help="A trained tagger: its folder, or a hub name.")
    find.add_argument("--input", metavar="FILE", help="A table, or plain text with a sentence on each line.")
    find.add_argument("--text-column", default="text", metavar="NAME", help="Column of the texts (default text).")
    find.add_argument("--output", metavar="FILE", help="A CSV of all entities (default: on stdout).")
    find.add_argument("--json", action="store_true", help="As JSON.")
    find.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")

    score = parts.add_parser("score", help="Span F1 of a tagger on a CoNLL file.", allow_abbrev=False)
    score.add_argument("--model", required=True, metavar="M", help="A trained tagger: its folder, or a hub name.")
    score.add_argument("--input", required=True, metavar="FILE", help="Sentences in CoNLL format.")
    _add_columns(score)
    score.add_argument("--json", action="store_true", help="As JSON.")
    score.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    return {"train": _train, "find": _find, "score": _score}[options.entities](options)


def _add_columns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--token-column", type=int, default=1, metavar="N", help="Column of the tokens (default 1).")
    parser.add_argument("--tag-column", type=int, metavar="N", help="Column of the tags (default: the last).")
    parser.add_argument("--encoding", metavar="TEXT", help="Such as gb18030 (default: found out).")


def _train(options: argparse.Namespace) -> int:
    config, settings = read_flags(options, EntityConfig), Settings.from_environment()
    file = _read(options.input, options)
    test = _read(options.test_input, options) if options.test_input else None
    from llm_app.classify.entities.train import Scored, parts_of, train_tagger
    from llm_app.engine.catalog import embedded_encoder, find_model

    base = embedded_encoder() if options.model == EMBEDDED else find_model(options.model, settings).path
    parts = parts_of(file, test, config)
    say(
        f"{len(parts.train):,} sentences to learn from, {len(parts.validation):,} to choose by, {len(parts.test):,} to "
        f"score on; types: {', '.join(parts.types)}"
    )
    scored: dict[str, EntityScores] = {}
    for event in train_tagger(parts, config, base, Path(options.output).expanduser().absolute()):
        if isinstance(event, Scored):
            scored[event.method] = event.scores
        else:
            _say_event(event)
    say(f"saved in {options.output}")
    _print_scores(scored, as_json=options.json)
    return 0


def _say_event(event: Any) -> None:
    from llm_app.classify.training.events import Point
    from llm_app.training.events import Step

    if isinstance(event, Step):
        say(f"step {event.step} of {event.n_steps}, loss {event.loss:.4f}", is_last=False)
    elif isinstance(event, Point):
        say(
            f"step {event.step}: validation loss {event.loss:.4f}, F1 {event.score:.4f}; "
            f"training loss {event.training_loss:.4f}, F1 {event.training_score:.4f}"
        )
    else:
        say(event.text)


def _score(options: argparse.Namespace) -> int:
    file = _read(options.input, options)
    from llm_app.classify.entities.open import open_tagger
    from llm_app.classify.entities.train import scores_of

    tagger = open_tagger(options.model, Settings.from_environment(), _turn())
    _print_scores({options.model: scores_of(tagger, file.sentences)}, as_json=options.json)
    return 0


def _find(options: argparse.Namespace) -> int:
    if (options.text is None) == (options.input is None):
        raise UserError("Give either a text or --input FILE.", param="input")
    numbers, texts = ([1], [options.text]) if options.input is None else texts_of(options.input, options.text_column)
    from llm_app.classify.entities.open import open_tagger
    from llm_app.classify.entities.words import find_entities

    tagger = open_tagger(options.model, Settings.from_environment(), _turn())
    found: list[Found] = []
    for each in find_entities(tagger, texts):
        found.append(each)
        say(f"{len(found):,} of {len(texts):,} texts", is_last=False)
    say(_told(found))
    rows = [
        (number, span.start, span.end, span.type, span.probability, text[span.start : span.end])
        for each, number, text in zip(found, numbers, texts, strict=True)
        for span in each.spans
    ]
    _write_rows(rows, options)
    return 0


def _told(found: "Sequence[Found]") -> str:
    n_cut, n_unknown = sum(each.n_cut for each in found), sum(each.n_unknown for each in found)
    n = sum(len(each.spans) for each in found)
    cut = f"; {n_cut:,} words were not read, since their line was too long" if n_cut else ""
    unknown = f"; {n_unknown:,} words are not in the vocabulary" if n_unknown else ""
    return f"{n:,} entities in {len(found):,} texts{cut}{unknown}"


def _write_rows(rows: Sequence[tuple[Any, ...]], options: argparse.Namespace) -> None:
    from eval.report.sheet import csv_text

    if options.output:
        try:
            Path(options.output).write_text(csv_text(COLUMNS, rows), encoding="utf-8", newline="")
        except OSError as error:
            raise UserError(f"Cannot write {options.output}: {error.strerror}.", param="output") from error
    elif options.json:
        print(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], ensure_ascii=False, indent=2))
    else:
        for row, start, end, kind, probability, text in rows:
            print(f"{row}\t{start}-{end}\t{kind}\t{probability:.4f}\t{text}")


def _read(path: str, options: argparse.Namespace) -> "TaggedFile":
    """The sentences of a file; what it had to find out and could not read is told."""
    from llm_app.data.conll import Columns, read_conll

    columns = Columns(options.token_column, options.tag_column)
    file = read_conll(Path(path).expanduser(), columns=columns, encoding=options.encoding)
    for note in file.notes:
        say(f"{file.name}: {note}")
    for bad in file.problems:
        say(f"{file.name}, line {bad.origin.line:,}: {bad.reason}")
    if not file.sentences:
        raise UserError(f"{file.name} has no sentence that can be read.", param="input")
    return file


def _turn() -> "Turn":
    from llm_app.engine.turn import Turn

    return Turn()


def _print_scores(scored: "dict[str, EntityScores]", *, as_json: bool) -> None:
    if as_json:
        text = json.dumps({name: asdict(scores) for name, scores in scored.items()})
        without_nan = json.loads(text, parse_constant=lambda _: None)  # of intervals that nobody knows
        print(json.dumps(without_nan, ensure_ascii=False, indent=2))
        return
    for name, scores in scored.items():
        size = f"{scores.n_sentences:,} sentences, {scores.n_words:,} words"
        print(f"{name}: {size}, {scores.accuracy:.4f} of the tags right")
        rows = [("all", scores.all), *scores.by_type.items()]
        width = max(len(kind) for kind, _ in rows)
        for kind, row in rows:
            print(f"  {kind:<{width}}  {_line(row)}")
        if scores.n_cut or scores.n_unknown:
            print(f"  {scores.n_cut:,} words cut (O), {scores.n_unknown:,} not in the vocabulary", file=sys.stderr)


def _line(score: "SpanScore") -> str:
    f1 = score.f1
    interval = f" [{f1.low:.4f}, {f1.high:.4f}]" if math.isfinite(f1.low) else ""  # none for a few sentences
    return (
        f"F1 {f1.estimate:.4f}{interval}  precision {score.precision.estimate:.4f}"
        f"  recall {score.recall.estimate:.4f}  n {score.support:,}"
    )
