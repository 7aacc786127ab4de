"""The command `classify train`: a table in, a classifier on disk; progress on stderr, the scores on stdout."""

import argparse
import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.training.events import CHOSEN_BY
from llm_app.classify.types import Kind
from llm_app.config import Settings
from llm_app.data_flags import add_reading_flags, reading_of
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
# Flags that only a new run takes.
_DATA = (
    "input", "text_column", "truth_column", "pair_column", "test_input", "output", "model", "name", "kind",
    "label_separator", "drop_unlabelled", "separator", "encoding", "header",
)


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train", help="Train a classifier on a table with labels.", allow_abbrev=False
    )
    add_data_flags(parser)
    parser.add_argument("--resume", metavar="RUN", help="Go on with a training that was stopped or killed.")
    parser.add_argument("--json", action="store_true", help="The scores as JSON.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, ClassifierConfig, "training")


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """The table, what it begins from, and where the classifier goes."""
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
    add_reading_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings = Settings.from_environment()
    training = _resumed(options, settings) if options.resume else _started(options, settings)
    if not follow(training):
        return INTERRUPTED
    _report(training, as_json=options.json)
    return 0


def follow(training: "Training", command: str = "classify train", *, goes_on: str | None = None) -> bool:
    """Work on it, telling on stderr how far it is and how it goes on; gives whether it came to its end.

    `goes_on`: in words, where it is not by COMMAND --resume RUN.
    """
    folder = training.folder
    say(f"run {folder.id}; if it is interrupted: {goes_on or f'python -m llm_app {command} --resume {folder.id}'}")
    try:
        with stopped_by_signals(training), contextlib.closing(training.run()) as events:
            for line, is_last in progress_lines(events):
                say(line, is_last=is_last)
    except (Cancelled, KeyboardInterrupt):
        goes_on = goes_on or f"--resume {folder.id}"
        say(f"stopped after step {training.n_done} of {training.n_total}; go on with {goes_on}")
        return False
    return True


def _started(options: argparse.Namespace, settings: Settings) -> "Training":
    config = read_flags(options, ClassifierConfig)
    from llm_app.jobs.classifier import start_classifier

    output = Path(options.output).expanduser().absolute() if options.output else None
    return start_classifier(
        data_of(options), config, settings, base=options.model, name=options.name, output=output
    )


def given_data_flags(options: argparse.Namespace) -> list[str]:
    """Those that only a new run takes."""
    given = {name: getattr(options, name) for name in _DATA}
    return [name for name, value in given.items() if value is not None and (value or name == "header")]


def data_of(options: argparse.Namespace) -> "ClassifierData":
    """Raises: UserError naming what was not given."""
    for name in ("input", "text_column", "truth_column"):
        if not getattr(options, name):
            raise UserError(f"Training needs {flag_of(name)}.", param=name)
    if options.test_input and hasattr(options, "test"):
        raise UserError("The scores are of --test-input: leave out --test.", param="test")
    if options.label_separator is not None and options.kind != "multi":
        raise UserError("--label-separator goes with --kind multi: several labels in a cell.", param="label_separator")
    from llm_app.classify.table import SEPARATOR, Columns
    from llm_app.data.mix import DatasetSpec
    from llm_app.jobs.classifier import ClassifierData

    reading = reading_of(options)
    columns = Columns(
        options.text_column, options.pair_column, options.truth_column, options.kind or "single",
        SEPARATOR if options.label_separator is None else options.label_separator,
    )  # fmt: skip
    test = DatasetSpec(options.test_input, reading=reading) if options.test_input else None
    return ClassifierData(DatasetSpec(options.input, reading=reading), columns, test, options.drop_unlabelled)


def refuse_on_resume(options: argparse.Namespace, given: Sequence[str], config: type[Any]) -> None:
    """Raises: UserError for data flags that are `given`, and options of the training."""
    found = [*given, *(item.name for item, _ in options_of(config) if hasattr(options, item.name))]
    if found:
        raise UserError(
            f"A resumed run keeps its own options; leave out {', '.join(map(flag_of, found))}.", param=found[0]
        )


def _resumed(options: argparse.Namespace, settings: Settings) -> "Training":
    """Raises: UserError for options that only a new run takes."""
    refuse_on_resume(options, given_data_flags(options), ClassifierConfig)
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
        found = {
            "run": training.folder.id, "classifier": str(place), "name": name, "scores": scores_json(scored)
        }  # fmt: skip
        print(json.dumps(found, ensure_ascii=False, indent=2), flush=True)
        return
    if log.written is not None and log.written.is_best:
        say(f"the weights are those after step {log.written.step}, the best on the rows for validation")
    say(f"use it: python -m llm_app classify --model {name or place} ...")
    if any(each.flatters for each in scored):
        say(CHOSEN_BY)
    if scored:
        print(table_text(scored), flush=True)
    else:
        say("no rows were held back: nothing is scored")


def scores_json(scored: "Sequence[Scored]") -> list[dict[str, Any]]:
    """An entry a method."""
    return [
        {"method": each.method, "part": each.part, "n": each.n, "scores": _plain(each.scores)} for each in scored
    ]


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
