"""The command `classify search`: settings of `classify train` tried one after the other, compared on validation rows.

The leaderboard goes to stdout, below it what the best one comes to on the test rows, which took no part in the choice.
"""

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_app.classify.config import ClassifierConfig
from llm_app.classify_train_cli import add_data_flags, data_of, given_data_flags, scores_json, table_text
from llm_app.config import Settings
from llm_app.flags import flag_of, read_flags
from llm_app.search_cli import add_search_flags, follow, option_arguments, resumed
from llm_app.spoken import say
from llm_app.training.search_config import SearchConfig
from llm_app.training.search_space import Params, parse_space

if TYPE_CHECKING:
    from llm_app.jobs.search import Search


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "search", help="Search for good settings of `classify train`: a grid, by chance, or Bayesian.",
        allow_abbrev=False,
    )  # fmt: skip
    add_data_flags(parser)
    add_search_flags(parser, ClassifierConfig)


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings = Settings.from_environment()
    if options.resume is None:
        search = _started(options, settings)
    else:
        search = resumed(options, ClassifierConfig, given_data_flags(options), settings)
    code = follow(search)
    _report(search, as_json=options.json)
    return code


def _started(options: argparse.Namespace, settings: Settings) -> "Search":
    config, asked = read_flags(options, ClassifierConfig), read_flags(options, SearchConfig)
    parse_space(asked.space, ClassifierConfig)  # a mistyped option is told before files are read
    from llm_app.jobs.train_search import start_classifier_search

    output = Path(options.output).expanduser().absolute() if options.output else None
    return start_classifier_search(
        data_of(options), config, asked, settings, base=options.model, name=options.name, output=output
    )


def _report(search: "Search", *, as_json: bool) -> None:
    """The leaderboard, the scores of the best, and the command that trains it once more."""
    from llm_app.jobs.leaderboard import as_markdown, leaderboard
    from llm_app.jobs.trial_runs import scored_of
    from llm_app.training.search_trials import leader

    rows, scored = leaderboard(search.history), scored_of(search.folder.events())
    if as_json:
        found = {"search": search.folder.id, "trials": rows, "scores": scores_json(scored)}
        print(json.dumps(found, indent=2, ensure_ascii=False), flush=True)
    else:
        print("\n\n".join([as_markdown(rows), *([table_text(scored)] if scored else [])]), flush=True)
    if scored:
        say(_about(scored[0].part))
    best = leader(search.history)
    if best is not None:
        say(f"the best again: {train_command(search, best.params)}")


def _about(part: str) -> str:
    if part == "test":
        return "the settings were chosen on the validation rows; the scores are on the test rows, which chose nothing"
    return "there are no test rows: the scores are on the rows that the settings were chosen on, and flatter"


def train_command(search: "Search", params: Params) -> str:
    """The command `classify train` with the settings of a trial, for a shell."""
    from llm_app.jobs import classifier

    spec = search.folder.spec()
    config = classifier.config_of({**spec, "config": {**spec["config"], **params}})
    data = classifier.data_of(spec)
    columns, reading = data.columns, data.rows.reading
    values = {
        "input": data.rows.path, "text_column": columns.text, "pair_column": columns.pair,
        "truth_column": columns.truth, "test_input": data.test.path if data.test else None,
        "model": spec["base"], "kind": None if columns.kind == "single" else columns.kind,
        "label_separator": columns.separator if columns.kind == "multi" else None,
        "separator": reading.separator, "encoding": reading.encoding,
    }  # fmt: skip
    arguments = [f"{flag_of(name)}={value}" for name, value in values.items() if value is not None]
    if reading.has_header is not None:
        arguments.append("--header" if reading.has_header else "--no-header")
    if data.drops_unlabelled:
        arguments.append("--drop-unlabelled")
    return shlex.join(["python", "-m", "llm_app", "classify", "train", *arguments, *option_arguments(config)])
