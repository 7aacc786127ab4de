"""The command `classify`: a text or a table in, labels out; scores beside baselines where the truth is known."""

import argparse
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from llm_app import (
    classify_entities_cli,
    classify_glue_cli,
    classify_search_cli,
    classify_text_cli,
    classify_topics_cli,
    classify_train_cli,
)
from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.labels import threshold_of
from llm_app.classify.types import Kind
from llm_app.classify_text_cli import write
from llm_app.config import ModelConfig, Settings
from llm_app.data_flags import add_reading_flags, reading_of
from llm_app.errors import UserError
from llm_app.flags import add_flags, flag_of, read_flags
from llm_app.options import options_of
from llm_app.spoken import progress, say

if TYPE_CHECKING:
    from llm_app.classify.judged import Judged
    from llm_app.engine.host import Host
    from llm_app.jobs.classify import Classification, Source
    from llm_app.jobs.classify_open import Asked, Classifiers
    from llm_app.jobs.folder import RunFolder

INTERRUPTED = 130
N_BAD = 5  # rows that are told of one by one
# Flags that only a table has.
_TABLE = ("text_column", "pair_column", "truth_column", "output", "kind", "label_separator", "separator", "encoding",
          "header")  # fmt: skip


def add_parser(commands: Any) -> None:
    """The command with its flags, and those that train, or find something else than labels."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "classify", help="Label a text or a table, by a chat model or a trained classifier.", allow_abbrev=False
    )
    classify_text_cli.add_flags(parser)
    parser.add_argument("--labels", metavar="A,B", help="What to choose among (default: those of the truth column).")
    _add_table_flags(parser)
    parser.add_argument("--json", metavar="FILE", help="Where the scores go; of one text, its probabilities.")
    parser.add_argument("--threshold", type=float, metavar="X",
                        help="What the second of two labels, or each of several, must reach (default 0.5).")
    parser.add_argument("--strict", action="store_true", help="Refuse texts that are too long instead of cutting them.")
    parser.add_argument("--baselines", action=argparse.BooleanOptionalAction, default=None,
                        help="Also score the majority label and TF-IDF, learned on other rows of the table (default:"
                        " where there are true labels, of at most 20,000 rows).")
    parser.add_argument("--resume", metavar="RUN",
                        help="Go on with a run that was stopped or killed; its last digits may differ.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, ModelConfig, "model")
    add_flags(parser, ZeroShotConfig, "prompt of a chat model")
    below = _Below(commands)
    for module in (
        classify_train_cli, classify_search_cli, classify_glue_cli, classify_entities_cli, classify_topics_cli
    ):  # fmt: skip
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
    add_reading_flags(table)


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
    classifiers = Classifiers(host, settings)
    try:
        _load(host, asked, _model(folder, read_flags(options, ModelConfig)), options, settings)
        if options.text is not None:
            with classifiers.lent(asked) as classifier:
                return classify_text_cli.run(classifier, options)
        return _table(classifiers, asked, folder, options, settings)
    finally:
        classifiers.close()
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
    if options.text is None and options.explain is not None:
        idle.append("explain")
    if options.text is not None and options.baselines is not None:
        idle.append("baselines")
    if options.input is not None and options.baselines and options.truth_column is None:
        raise UserError("--baselines needs the true labels: --truth-column NAME", param="baselines")
    if options.resume is not None:
        idle = [name for name in idle if name != "output"]
        idle += [name for name in ("labels", *_options(ZeroShotConfig)) if getattr(options, name, None) is not None]
        model = [name for name in _options(ModelConfig) if name != "device"]
        idle += [name for name in ("strict", *model) if getattr(options, name, None)]
    if idle:
        what = "a resumed run keeps its own options" if options.resume else "only a table has it"
        what = "only a TEXT has it" if idle[0] in ("pair", "explain") else what
        raise UserError(f"{flag_of(idle[0])} does not go with this: {what}.", param=idle[0])
    if options.input is not None and options.kind is not None and options.truth_column is None:
        raise UserError("--kind says what the truth column holds: give --truth-column too.", param="kind")
    if options.label_separator is not None and options.truth_column is not None and options.kind != "multi":
        raise UserError("--label-separator goes with --kind multi: several labels in a cell.", param="label_separator")
    if options.input is not None and options.output is None and options.json is None:
        raise UserError("Say where the labelled table goes: --output OUT.csv", param="output")


def _options(config: type[Any]) -> list[str]:
    return [item.name for item, _ in options_of(config)]


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

    if trained_folder(asked.model, settings) is not None:
        given = [name for name in (*_options(ZeroShotConfig), *_options(ModelConfig)) if hasattr(options, name)]
        if idle := [name for name in given if name != "model"]:
            raise UserError(
                f"{asked.model} is a trained classifier, which makes no use of {flag_of(idle[0])}: leave it out.",
                param=idle[0],
            )
        return
    if asked.labels or options.truth_column or options.resume:  # a model that gets no labels is refused unloaded
        for progress in host.load(model):
            say(f"{progress.phase} {progress.fraction:.0%}", is_last=False)


# A table -------------------------------------------------------------------------------------------------------


def _table(
    classifiers: "Classifiers", asked: "Asked", folder: "RunFolder | None", options: argparse.Namespace,
    settings: Settings,
) -> int:
    from llm_app.jobs.classify import resume, start
    from llm_app.jobs.classify_sheet import csv_of

    if folder is None:
        source = _source(options)
        table = source.read()
        if options.threshold is not None:  # refused before there is a run
            with classifiers.lent_for(asked, table) as opened:
                threshold_of(options.threshold, opened.classifier.kind, opened.classifier.labels)
        run = start(asked, source, classifiers, settings, table=table)
    else:
        run = resume(folder, classifiers)
    about = run.folder.spec()["classifier"]
    threshold = threshold_of(options.threshold, about["kind"], about["labels"])
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
    judged = run.judged(threshold)
    if options.output is not None:
        write(options.output, csv_of(run.table, judged))
    # Of a run that was interrupted they are learned when it has gone on to its end, or when they are asked for.
    has_bars = code == 0 if options.baselines is None else options.baselines
    _report(run, judged, _baselines(run, judged, is_asked=options.baselines is True) if has_bars else {}, options.json)
    return code


def _source(options: argparse.Namespace) -> "Source":
    from llm_app.classify.guess import guess
    from llm_app.classify.table import SEPARATOR, Columns
    from llm_app.data.read import read_file
    from llm_app.data.table import Limits
    from llm_app.jobs.classify import Source

    path = Path(options.input).expanduser().absolute()
    reading = reading_of(options)
    text = options.text_column
    if text is None:
        text = guess(read_file(path, reading=reading, limits=Limits(n_first=1_000))).text
        say(f"column {text} holds the text; another one is --text-column NAME")
    columns = Columns(
        text, options.pair_column, options.truth_column, options.kind or "single", options.label_separator or SEPARATOR
    )
    return Source(path, columns, reading)


def _report(
    run: "Classification", judged: "Judged", baselines: "Mapping[str, Judged]", json_file: str | None
) -> None:
    """Scores on stdout, where the table holds truths; how many rows have no label on stderr."""
    from llm_app.classify.score_text import report
    from llm_app.jobs.classify_sheet import scores_of, summary

    about, spec = summary(run.table, judged), run.folder.spec()
    for name, what in (("n_unclassified", "got no label; the CSV says why"), ("n_cut", "were too long and were cut")):
        if about[name]:
            say(f"{about[name]:,} rows {what}")
    if judged.places and (n := spec["classifier"].get("learned", 0)):
        say(f"{n:,} rows are among those that the classifier learned from or was chosen by: its scores flatter")
    title = Path(spec["model"]["name"]).name
    found = {f"{title} (trained)" if title in baselines else title: judged, **baselines}
    for number, part in enumerate(report(found, run.table.name)):
        print(*([""] if number else []), part, sep="\n", flush=True)
    if json_file is not None:
        write(json_file, json.dumps({
            **about, "run": run.folder.id, "classifier": spec["classifier"], "scores": scores_of(judged),
            "baselines": {name: scores_of(one) for name, one in baselines.items()},
        }, ensure_ascii=False, indent=2) + "\n")  # fmt: skip


def _baselines(run: "Classification", judged: "Judged", *, is_asked: bool) -> "Mapping[str, Judged]":
    """The bars to beat, where there are true labels; of very many rows only where they are asked for."""
    from llm_app.classify.crossed import MAX_ROWS, crossed

    if not (n := len(judged.places)):
        return {}
    if n > MAX_ROWS and not is_asked:
        say(f"no baselines, which would take a while for {n:,} rows: --baselines learns them")
        return {}
    try:
        return crossed(run.table, judged.places)
    except UserError as error:  # too few rows, or one label only: what was classified is told all the same
        say(f"no baselines: {error.message}")
        return {}


COMMANDS = {
    "classify": run, "classify train": classify_train_cli.run, "classify search": classify_search_cli.run,
    "classify glue": classify_glue_cli.run,
    "classify entities": classify_entities_cli.run, "classify topics": classify_topics_cli.run,
}
