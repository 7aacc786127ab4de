"""The command `classify`: a text or a table in, labels out; scores beside baselines where the truth is known."""

import argparse
import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from llm_app import classify_entities_cli, classify_glue_cli, classify_topics_cli, classify_train_cli
from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.types import Item, Kind, Prediction, answer
from llm_app.config import ModelConfig, Settings
from llm_app.errors import UserError
from llm_app.flags import add_flags, flag_of, read_flags
from llm_app.options import options_of
from llm_app.spoken import progress, say

if TYPE_CHECKING:
    from llm_app.classify.judged import Judged
    from llm_app.classify.types import Classifier
    from llm_app.engine.host import Host
    from llm_app.jobs.classify import Classification, Source
    from llm_app.jobs.classify_open import Asked, Classifiers
    from llm_app.jobs.folder import RunFolder

INTERRUPTED = 130
N_WORDS = 8  # that decided, as they are shown
N_BAD = 5  # rows that are told of one by one
# Flags that only a table has.
_TABLE = ("text_column", "pair_column", "truth_column", "output", "kind", "label_separator", "separator", "encoding",
          "header")  # fmt: skip


def add_parser(commands: Any) -> None:
    """The command with its flags, and those that train, or find something else than labels."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "classify", help="Label a text or a table, by a chat model or a trained classifier.", allow_abbrev=False
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="A text to classify; for a table, --input.")
    parser.add_argument("--pair", metavar="TEXT", help="The second text of a pair.")
    parser.add_argument("--labels", metavar="A,B", help="What to choose among (default: those of the truth column).")
    _add_table_flags(parser)
    parser.add_argument("--json", metavar="FILE", help="Where the scores go; of one text, its probabilities.")
    parser.add_argument("--threshold", type=float, default=0.5, metavar="X",
                        help="What the second of two labels, or each of several, must reach (default 0.5).")
    parser.add_argument("--strict", action="store_true", help="Refuse texts that are too long instead of cutting them.")
    parser.add_argument("--baselines", action="store_true",
                        help="Also score the majority label and TF-IDF, learned on other rows of the table.")
    parser.add_argument("--resume", metavar="RUN", help="Go on with a run that was stopped or killed.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, ModelConfig, "model")
    add_flags(parser, ZeroShotConfig, "prompt of a chat model")
    below = _Below(commands)
    for module in (classify_train_cli, classify_glue_cli, classify_entities_cli, classify_topics_cli):
        module.add_parser(below)


def _add_table_flags(parser: argparse.ArgumentParser) -> None:
    table = parser.add_argument_group("table")
    table.add_argument("--input", metavar="FILE", help="The table: csv, tsv, jsonl, json or parquet.")
    table.add_argument("--text-column", metavar="NAME", help="The column that holds the text (default: guessed).")
    table.add_argument("--pair-column", metavar="NAME", help="The column with the second text of a pair.")
    table.add_argument("--truth-column", metavar="NAME", help="The column with the true labels, for scores.")
    table.add_argument("--output", metavar="CSV", help="Where the table goes, with what was found in each row.")
    table.add_argument("--kind", choices=get_args(Kind), help="What the truth column holds (default single).")
    table.add_argument("--label-separator", metavar="TEXT", help="Between the labels of a cell (default ;).")
    table.add_argument("--separator", metavar="CHAR", help="Between the cells (default: found out).")
    table.add_argument("--encoding", metavar="NAME", help="Of the file, such as gb18030 (default: found out).")
    table.add_argument("--header", action=argparse.BooleanOptionalAction, default=None,
                       help="Whether the first line names the columns (default: found out).")


class _Below:
    """Adds commands of two words, such as `classify train`."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """As argparse's own."""
        parser: argparse.ArgumentParser = self._commands.add_parser(f"classify {name}", **options)
        return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    _check(options)
    settings = Settings.from_environment()
    from llm_app.engine.host import Host
    from llm_app.jobs.classify import asked_of
    from llm_app.jobs.classify_open import Classifiers
    from llm_app.jobs.folder import RunFolder

    folder = RunFolder.open(settings.home / "runs", options.resume) if options.resume else None
    asked = _asked(options) if folder is None else asked_of(folder)
    host = Host(settings)
    try:
        _load(host, asked, _model(folder, read_flags(options, ModelConfig)), options, settings)
        classifiers = Classifiers(host, settings)
        if options.text is not None:
            return _one(classifiers.open(asked), options)
        return _table(classifiers, asked, folder, options, settings)
    finally:
        host.shutdown(grace_seconds=0)


def _check(options: argparse.Namespace) -> None:
    """Raises: UserError for flags that do not go together."""
    if sum(value is not None for value in (options.text, options.input, options.resume)) != 1:
        raise UserError("Give one of these: a TEXT, a table with --input FILE, or --resume RUN.", param="input")
    if options.text is not None and not options.text.strip():
        raise UserError("The text is empty. Write something first.", param="text")
    idle: list[str] = []
    if options.input is None:
        idle = [name for name in _TABLE if getattr(options, name) is not None]
    if options.text is None and options.pair is not None:
        idle.append("pair")
    if options.text is not None and options.baselines:
        idle.append("baselines")
    if options.input is not None and options.baselines and options.truth_column is None:
        raise UserError("--baselines needs the true labels: --truth-column NAME", param="baselines")
    if options.resume is not None:
        idle = [name for name in idle if name != "output"]
        idle += [name for name in ("labels", *(item.name for item, _ in options_of(ZeroShotConfig)))
                 if getattr(options, name, None) is not None]
        idle += [name for name in ("model", "strict") if getattr(options, name, None)]
    if idle:
        what = "a resumed run keeps its own options" if options.resume else "only a table has it"
        what = "only a TEXT has it" if idle == ["pair"] else what
        raise UserError(f"{flag_of(idle[0])} does not go with this: {what}.", param=idle[0])
    if options.input is not None and options.output is None and options.json is None:
        raise UserError("Say where the labelled table goes: --output OUT.csv", param="output")


def _asked(options: argparse.Namespace) -> "Asked":
    from llm_app.jobs.classify_open import Asked

    if hasattr(options, "template"):
        options.template = options.template.replace("\\n", "\n")
    labels = tuple(label.strip() for label in options.labels.split(",")) if options.labels is not None else ()
    return Asked(read_flags(options, ModelConfig).model, labels, read_flags(options, ZeroShotConfig), options.strict)


def _model(folder: "RunFolder | None", given: ModelConfig) -> ModelConfig:
    """The chat model as it is loaded: of a resumed run, as it was when that began."""
    begun = {} if folder is None else folder.spec()["model"]
    if "context" not in begun:
        return given
    return ModelConfig(begun["name"], begun["adapter_name"], begun["precision"], given.device, begun["context"])


def _load(
    host: "Host", asked: "Asked", model: ModelConfig, options: argparse.Namespace, settings: Settings
) -> None:
    """Load the chat model, where it is one that classifies; a trained classifier needs none."""
    from llm_app.classify.open import trained_folder

    has_labels = asked.labels or options.truth_column or options.resume  # a model that gets none is refused unloaded
    if has_labels and trained_folder(asked.model, settings) is None:
        for progress in host.load(model):
            say(f"{progress.phase} {progress.fraction:.0%}", is_last=False)


# One text ------------------------------------------------------------------------------------------------------


def _one(classifier: "Classifier", options: argparse.Namespace) -> int:
    from llm_app.classify.explain import leave_one_out

    item = Item(options.text, options.pair)
    started = time.perf_counter()
    (found,) = classifier.predict([item])
    seconds = time.perf_counter() - started
    if not isinstance(found, Prediction):
        raise UserError(found.reason, param="text")
    said = answer(classifier.kind, classifier.labels, found.scores, options.threshold)
    spans = sorted(leave_one_out(classifier, item).spans, key=lambda span: -abs(span.weight))
    words = [((item.pair or "") if span.is_pair else item.text)[span.start : span.end] for span in spans]
    lines = [said] if classifier.kind == "regression" else [
        f"{label:<{max(map(len, classifier.labels))}}  {score:.4f}  {'#' * round(40 * score)}".rstrip()
        for label, score in sorted(zip(classifier.labels, found.scores, strict=True), key=lambda one: -one[1])
    ]
    print(*lines, sep="\n", flush=True)
    decided = ", ".join(f"{word} {span.weight:+.2f}" for word, span in zip(words[:N_WORDS], spans, strict=False))
    say(f"{1000 * seconds:.0f} ms" + (f", {found.n_cut:,} tokens cut" if found.n_cut else ""))
    say(f"what decided (change of the log-odds): {decided or 'nothing'}")
    if options.json is not None:
        _write(options.json, json.dumps({
            "label": said, "probabilities": dict(zip(classifier.labels, found.scores, strict=True)),
            "n_cut": found.n_cut, "milliseconds": 1000 * seconds,
            "words": [
                {"start": span.start, "end": span.end, "pair": span.is_pair, "weight": span.weight} for span in spans
            ],
        }, ensure_ascii=False, indent=2) + "\n")  # fmt: skip
    return 0


# A table -------------------------------------------------------------------------------------------------------


def _table(
    classifiers: "Classifiers", asked: "Asked", folder: "RunFolder | None", options: argparse.Namespace,
    settings: Settings,
) -> int:
    from llm_app.jobs.classify import resume, start
    from llm_app.jobs.classify_sheet import csv_of

    run = start(asked, _source(options), classifiers, settings) if folder is None else resume(folder, classifiers)
    for note in run.table.notes:
        say(str(note))
    for problem in run.table.problems[:N_BAD]:
        say(f"line {problem.origin.line:,}: {problem.reason}")
    if len(run.table.problems) > N_BAD:
        say(f"{len(run.table.problems):,} rows cannot be classified; the CSV says why")
    say(f"run {run.folder.id}, {run.n_total:,} rows; if it is interrupted: --resume {run.folder.id}")
    code = 0
    try:
        with contextlib.closing(run.run()) as steps:
            for line in progress((step.done, step.total) for step in steps):
                say(line, is_last=False)
    except KeyboardInterrupt:
        say(f"interrupted at {run.n_done:,}/{run.n_total:,}; go on with --resume {run.folder.id}")
        code = INTERRUPTED
    judged = run.judged(options.threshold)
    if options.output is not None:
        _write(options.output, csv_of(run.table, judged))
    _report(run, judged, options)
    return code


def _source(options: argparse.Namespace) -> "Source":
    from llm_app.classify.guess import guess
    from llm_app.classify.table import SEPARATOR, Columns
    from llm_app.data.read import read_file
    from llm_app.data.table import Limits, Reading
    from llm_app.jobs.classify import Source

    path = Path(options.input).expanduser().absolute()
    separator = "\t" if options.separator == "\\t" else options.separator
    reading = Reading(options.encoding, separator, options.header)
    text = options.text_column
    if text is None:
        text = guess(read_file(path, reading=reading, limits=Limits(n_first=1_000))).text
        say(f"column {text} holds the text; another one is --text-column NAME")
    columns = Columns(
        text, options.pair_column, options.truth_column, options.kind or "single", options.label_separator or SEPARATOR
    )
    return Source(path, columns, reading)


def _report(run: "Classification", judged: "Judged", options: argparse.Namespace) -> None:
    """Scores on stdout, where the table holds truths; how many rows have no label on stderr."""
    from llm_app.classify.score_text import report
    from llm_app.jobs.classify_sheet import scores_of, summary

    about, spec = summary(run.table, judged), run.folder.spec()
    for name, what in (("n_unclassified", "got no label; the CSV says why"), ("n_cut", "were too long and were cut")):
        if about[name]:
            say(f"{about[name]:,} rows {what}")
    baselines = _baselines(run, judged) if options.baselines else {}
    for number, part in enumerate(report({Path(spec["model"]["name"]).name: judged, **baselines}, run.table.name)):
        print(*([""] if number else []), part, sep="\n", flush=True)
    if options.json is not None:
        _write(options.json, json.dumps({
            **about, "run": run.folder.id, "classifier": spec["classifier"], "scores": scores_of(judged),
            "baselines": {name: scores_of(one) for name, one in baselines.items()},
        }, ensure_ascii=False, indent=2) + "\n")  # fmt: skip


def _baselines(run: "Classification", judged: "Judged") -> "Mapping[str, Judged]":
    from llm_app.classify.crossed import crossed

    try:
        return crossed(run.table, judged.places)
    except UserError as error:  # too few rows, or one label only: what was classified is told all the same
        say(f"no baselines: {error.message}")
        return {}


def _write(path: str, text: str) -> None:
    from llm_app.jobs.folder import write_whole

    say(f"written to {write_whole(Path(path).expanduser(), text)}")


COMMANDS = {
    "classify": run, "classify train": classify_train_cli.run, "classify glue": classify_glue_cli.run,
    "classify entities": classify_entities_cli.run, "classify topics": classify_topics_cli.run,
}
