"""The command `classify train`: a table in, a classifier on disk; progress on stderr, the scores on stdout."""

import argparse
import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.types import Kind
from llm_app.config import Settings
from llm_app.errors import Cancelled, UserError
from llm_app.flags import add_flags, flag_of, read_flags
from llm_app.options import options_of
from llm_app.spoken import say
from llm_app.train_cli import INTERRUPTED, progress_lines, stopped_by_signals

if TYPE_CHECKING:
    from llm_app.classify.training.events import Scored
    from llm_app.jobs.classifier import ClassifierData
    from llm_app.jobs.train import Training

# What a line of the table shows, as far as the kind of labels has it.
SHOWN = (
    "accuracy", "subset_accuracy", "macro_f1", "mcc", "roc_auc", "ece", "hamming_loss", "pearson", "spearman", "rmse",
)
_DATA = ("input", "text_column", "truth_column", "pair_column", "test_input", "output", "model", "name")


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train", help="Train a classifier on a table with labels.", allow_abbrev=False
    )
    parser.add_argument("--input", metavar="FILE", help="The table: csv, tsv, jsonl, json or parquet.")
    parser.add_argument("--text-column", metavar="NAME", help="The column that holds the text.")
    parser.add_argument("--pair-column", metavar="NAME", help="The column with the second text of a pair.")
    parser.add_argument("--truth-column", metavar="NAME", help="The column that holds the labels.")
    parser.add_argument("--test-input", metavar="FILE", help="Rows for the scores alone, else --test of the table.")
    parser.add_argument("--output", metavar="DIR", help="Becomes the classifier, which --model DIR then uses.")
    parser.add_argument(
        "--model", metavar="BASE",
        help="What is trained: an encoder (default: the embedded one), for lora a chat model; a folder or hub name.",
    )
    parser.add_argument("--name", metavar="NAME", help="What it is called on this machine (default: made up).")
    parser.add_argument(
        "--kind", choices=get_args(Kind), default=None,
        help="One label a row, any number of them, or a number (default single).",
    )
    parser.add_argument("--label-separator", metavar="TEXT", help="Between the labels of a cell (default ;).")
    parser.add_argument("--drop-unlabelled", action="store_true", help="Leave rows without a label out.")
    parser.add_argument("--separator", metavar="CHAR", help="Between the cells (default: found out).")
    parser.add_argument("--encoding", metavar="NAME", help="Of the file, such as gb18030 (default: found out).")
    parser.add_argument(
        "--header", action=argparse.BooleanOptionalAction, default=None,
        help="Whether the first line names the columns (default: found out).",
    )
    parser.add_argument("--resume", metavar="RUN", help="Go on with a training that was stopped or killed.")
    parser.add_argument("--json", action="store_true", help="The scores as JSON.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, ClassifierConfig, "training")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings = Settings.from_environment()
    training = _resumed(options, settings) if options.resume else _started(options, settings)
    if not follow(training):
        return INTERRUPTED
    _report(training, as_json=options.json)
    return 0


def follow(training: "Training") -> bool:
    """Work on it, telling on stderr how far it is; gives whether it came to its end."""
    folder = training.folder
    say(f"run {folder.id}; if it is interrupted: python -m llm_app classify train --resume {folder.id}")
    try:
        with stopped_by_signals(training), contextlib.closing(training.run()) as events:
            for line, is_last in progress_lines(events):
                say(line, is_last=is_last)
    except (Cancelled, KeyboardInterrupt):
        say(f"stopped after step {training.n_done} of {training.n_total}; go on with --resume {folder.id}")
        return False
    return True


def _started(options: argparse.Namespace, settings: Settings) -> "Training":
    config = read_flags(options, ClassifierConfig)
    from llm_app.jobs.classifier import start_classifier

    output = Path(options.output).expanduser().absolute() if options.output else None
    return start_classifier(
        _data(options), config, settings, base=options.model, name=options.name, output=output
    )


def _data(options: argparse.Namespace) -> "ClassifierData":
    """Raises: UserError naming what was not given."""
    for name in ("input", "text_column", "truth_column"):
        if not getattr(options, name):
            raise UserError(f"Training needs {flag_of(name)}.", param=name)
    from llm_app.classify.table import SEPARATOR, Columns
    from llm_app.data.mix import DatasetSpec
    from llm_app.data.table import Reading
    from llm_app.jobs.classifier import ClassifierData

    reading = Reading(options.encoding, options.separator, options.header)
    columns = Columns(
        options.text_column, options.pair_column, options.truth_column, options.kind or "single",
        options.label_separator or SEPARATOR,
    )  # fmt: skip
    test = DatasetSpec(options.test_input, reading=reading) if options.test_input else None
    return ClassifierData(DatasetSpec(options.input, reading=reading), columns, test, options.drop_unlabelled)


def _resumed(options: argparse.Namespace, settings: Settings) -> "Training":
    """Raises: UserError for options that only a new run takes."""
    given = [name for name in _DATA if getattr(options, name)]
    given += [item.name for item, _ in options_of(ClassifierConfig) if hasattr(options, item.name)]
    if given:
        raise UserError(
            f"A resumed run keeps its own options; leave out {', '.join(map(flag_of, given))}.", param=given[0]
        )
    from llm_app.jobs.classifier import resume_classifier
    from llm_app.jobs.folder import RunFolder

    return resume_classifier(RunFolder.open(settings.home / "runs", options.resume), settings)


def _report(training: "Training", *, as_json: bool) -> None:
    from llm_app.jobs.train_log import read_log
    from llm_app.jobs.train_result import CLASSIFIER

    log, spec = read_log(training.folder), training.folder.spec()
    # What was trained stands above the bars that it is to beat.
    scored = sorted(log.scored, key=lambda each: each.method != spec["config"]["method"])
    place = Path(spec["output"] or training.folder.path / CLASSIFIER)
    name = log.written.name if log.written else None
    if as_json:
        found = {"run": training.folder.id, "classifier": str(place), "name": name, "scores": [
            {"method": each.method, "part": each.part, "n": each.n, "scores": _plain(each.scores)} for each in scored
        ]}  # fmt: skip
        print(json.dumps(found, ensure_ascii=False, indent=2), flush=True)
        return
    if log.written is not None and log.written.is_best:
        say(f"the weights are those after step {log.written.step}, the best on the rows for validation")
    say(f"use it: python -m llm_app classify --model {name or place} ...")
    if scored:
        print(table_text(scored), flush=True)
    else:
        say("no rows were held back: nothing is scored")


def table_text(scored: "Sequence[Scored]") -> str:
    """A line a method: value and 95 % interval of each score."""
    metrics = [name for name in SHOWN if any(name in each.scores for each in scored)]
    rows = [["method", "rows", *metrics]]
    for each in scored:
        rows.append([each.method, f"{each.n:,} {each.part}", *(_cell(each.scores.get(name)) for name in metrics)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _cell(figure: tuple[float, float, float] | None) -> str:
    if figure is None:
        return "-"
    value, low, high = figure
    return f"{value:.4f}" if math.isnan(low) else f"{value:.4f} [{low:.3f}, {high:.3f}]"


def _plain(scores: Mapping[str, tuple[float, float, float]]) -> dict[str, dict[str, float | None]]:
    return {
        name: dict(zip(("value", "low", "high"), (end if math.isfinite(end) else None for end in figure), strict=True))
        for name, figure in scores.items()
    }
