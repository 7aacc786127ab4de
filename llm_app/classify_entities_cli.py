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
from llm_app.classify.training.events import CHOSEN_BY
from llm_app.classify_text_cli import write
from llm_app.classify_topics_cli import texts_of
from llm_app.classify_train_cli import follow, refuse_on_resume
from llm_app.config import Settings
from llm_app.data_flags import add_reading_flags, reading_of
from llm_app.errors import UserError
from llm_app.flags import add_flags, read_flags
from llm_app.spoken import say
from llm_app.train_cli import INTERRUPTED

if TYPE_CHECKING:
    from llm_app.classify.entities.scores import EntityScores, SpanScore
    from llm_app.classify.entities.words import Found
    from llm_app.data.conll import Columns, TaggedFile
    from llm_app.engine.turn import Turn
    from llm_app.jobs.train import Training

# Flags that only a new run takes.
_DATA = ("input", "test_input", "output", "name", "model", "token_column", "tag_column", "encoding")
_READING = ("text_column", "separator", "encoding", "header")  # how a file is read
COLUMNS = ("row", "start", "end", "type", "probability", "text")


def add_parser(commands: Any) -> None:
    """The command `entities` with its own: train, find, score."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "entities", help="Named entities: train a tagger, find them, score it.", allow_abbrev=False
    )
    parts = parser.add_subparsers(dest="entities", metavar="COMMAND", required=True)

    train = parts.add_parser("train", help="Train on a CoNLL file, beside a baseline.", allow_abbrev=False)
    train.add_argument("--input", metavar="FILE", help="Sentences to learn from, in CoNLL format.")
    train.add_argument("--test-input", metavar="FILE", help="Sentences to score on (default: a share of --input).")
    train.add_argument("--output", metavar="DIR", help="Becomes the tagger, which --model DIR then uses.")
    train.add_argument("--name", metavar="NAME", help="What it is called on this machine (default: made up).")
    train.add_argument("--model", metavar="TEXT", help="The encoder (default: the embedded one).")
    _add_columns(train)
    train.add_argument("--resume", metavar="RUN", help="Go on with a training that was stopped or killed.")
    train.add_argument("--json", action="store_true", help="The scores as JSON.")
    train.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(train, EntityConfig, "training")

    find = parts.add_parser("find", help="Find entities in a text, or in each row of a file.", allow_abbrev=False)
    find.add_argument("text", nargs="?", metavar="TEXT", help="A text; each of its lines is a sentence.")
    find.add_argument("--model", required=True, metavar="M", help="A trained tagger: its folder, or a hub name.")
    find.add_argument("--input", metavar="FILE", help="A table, or plain text with a sentence on each line.")
    find.add_argument("--text-column", metavar="NAME", help="The column that holds the text (default: guessed).")
    add_reading_flags(find)
    find.add_argument("--output", metavar="FILE", help="A CSV of all entities (default: on stdout).")
    find.add_argument("--json", action="store_true", help="All on stdout, as JSON.")
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
    parser.add_argument("--token-column", type=int, metavar="N", help="Column of the tokens (default 1).")
    parser.add_argument("--tag-column", type=int, metavar="N", help="Column of the tags (default: the last).")
    parser.add_argument("--encoding", metavar="TEXT", help="Such as gb18030 (default: found out).")


def _train(options: argparse.Namespace) -> int:
    settings = Settings.from_environment()
    training = _resumed(options, settings) if options.resume else _started(options, settings)
    if not follow(training, "classify entities train"):
        return INTERRUPTED
    from llm_app.jobs.tagger_result import read_scores
    from llm_app.jobs.train_log import read_log
    from llm_app.jobs.train_result import CLASSIFIER

    log = read_log(training.folder)
    name = log.written.name if log.written else None
    place = training.folder.spec()["output"] or training.folder.path / CLASSIFIER
    say(f"use it: python -m llm_app classify entities find --model {name or place} ...")
    if any(each.flatters for each in log.scored):
        say(CHOSEN_BY)
    _print_scores(read_scores(training.folder), as_json=options.json)
    return 0


def _started(options: argparse.Namespace, settings: Settings) -> "Training":
    if not options.input:
        raise UserError("Training needs --input.", param="input")
    if options.test_input and hasattr(options, "test"):
        raise UserError("The scores are of --test-input: leave out --test.", param="test")
    config = read_flags(options, EntityConfig)
    from llm_app.data.mix import DatasetSpec
    from llm_app.data.table import Reading
    from llm_app.jobs.classifier import Place
    from llm_app.jobs.tagger import TaggerData, start_tagger

    reading = Reading(options.encoding)
    test = DatasetSpec(options.test_input, reading=reading) if options.test_input else None
    data = TaggerData(DatasetSpec(options.input, reading=reading), _columns(options), test)
    output = Path(options.output).expanduser().absolute() if options.output else None
    return start_tagger(data, config, settings, base=options.model, place=Place(options.name, output))


def _resumed(options: argparse.Namespace, settings: Settings) -> "Training":
    """Raises: UserError for options that only a new run takes."""
    refuse_on_resume(options, [name for name in _DATA if getattr(options, name) is not None], EntityConfig)
    from llm_app.jobs.folder import RunFolder
    from llm_app.jobs.tagger import resume_tagger

    return resume_tagger(RunFolder.open(settings.home / "runs", options.resume), settings)


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
    if options.input is None and (idle := [name for name in _READING if getattr(options, name) is not None]):
        raise UserError(f"A text has no columns: leave out --{idle[0].replace('_', '-')}.", param=idle[0])
    numbers, texts = ([1], [options.text]) if options.input is None else texts_of(
        options.input, options.text_column, reading_of(options)
    )
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
        write(options.output, csv_text(COLUMNS, rows))
    if options.json:
        print(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], ensure_ascii=False, indent=2))
    elif not options.output:
        for row, start, end, kind, probability, text in rows:
            print(f"{row}\t{start}-{end}\t{kind}\t{probability:.4f}\t{text}")


def _read(path: str, options: argparse.Namespace) -> "TaggedFile":
    """The sentences of a file; what it had to find out and could not read is told."""
    from llm_app.data.conll import read_conll

    file = read_conll(Path(path).expanduser(), columns=_columns(options), encoding=options.encoding)
    for note in file.notes:
        say(f"{file.name}: {note}")
    for bad in file.problems:
        say(f"{file.name}, line {bad.origin.line:,}: {bad.reason}")
    if not file.sentences:
        raise UserError(f"{file.name} has no sentence that can be read.", param="input")
    return file


def _columns(options: argparse.Namespace) -> "Columns":
    from llm_app.data.conll import Columns

    return Columns(1 if options.token_column is None else options.token_column, options.tag_column)


def _turn() -> "Turn":
    from llm_app.engine.turn import Turn

    return Turn()


def _print_scores(scored: "dict[str, EntityScores]", *, as_json: bool) -> None:
    for name, scores in scored.items():
        if scores.n_learned:
            of = f"{scores.n_learned:,} of {scores.n_sentences:,} sentences"
            say(f"{name}: {of} are among those that it learned from or was chosen by: the scores flatter")
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
