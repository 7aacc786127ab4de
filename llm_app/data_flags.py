"""Which examples a command takes, and how their rows are read, as command-line flags."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_app.config import Settings
from llm_app.errors import UserError

if TYPE_CHECKING:
    from llm_app.data.formats import Mapping
    from llm_app.data.mix import DatasetSpec
    from llm_app.data.table import Reading


def add_reading_flags(parser: "argparse._ActionsContainer") -> None:
    """What a table's file is found to be, where that is wrong."""
    parser.add_argument("--separator", metavar="CHAR", help="Between the cells (default: found out).")
    parser.add_argument("--encoding", metavar="NAME", help="Of the file, such as gb18030 (default: found out).")
    parser.add_argument(
        "--header", action=argparse.BooleanOptionalAction, default=None,
        help="Whether the first line names the columns (default: found out).",
    )


def reading_of(options: argparse.Namespace) -> "Reading":
    """How a table's file is read. Raises: UserError naming the flag that is wrong."""
    from llm_app.data.table import Reading

    return Reading(options.encoding, "\t" if options.separator == "\\t" else options.separator, options.header)


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Files of examples, their weights, the votes, and corrections of what is found out about columns of files."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data", nargs="+", action="extend", default=[], metavar="FILE",
        help="Examples: jsonl, json, csv, tsv, parquet or text, in any usual layout; or a dataset_info.json.",
    )
    group.add_argument(
        "--sets", nargs="+", default=[], metavar="NAME", help="Which ones of a dataset_info.json (default: all).",
    )
    group.add_argument(
        "--weights", nargs="+", type=float, default=[], metavar="X",
        help="How often each file's examples are seen, a number a file (default 1).",
    )
    group.add_argument("--mapping", metavar="FILE", help="JSON that says which column is what, as --plan prints it.")
    group.add_argument("--layout", metavar="TEXT", help="Such as alpaca, sharegpt or text (default: found out).")
    group.add_argument(
        "--columns", nargs="+", default=[], metavar="WHAT=NAME", help="Such as prompt=question response=answer.",
    )
    group.add_argument("--split-at", metavar="TEXT", help="What ends the prompt in plain text.")
    group.add_argument("--raw", action="store_true", help="Prompt and answer as they are, without the chat template.")
    group.add_argument("--votes", action="store_true", help="The votes of the Chat tab as pairs: --objective dpo.")


def given_data_flags(options: argparse.Namespace) -> list[str]:
    """Names of those flags that were given."""
    names = ("data", "sets", "weights", "mapping", "layout", "columns", "split_at", "raw", "votes")
    return [name for name in names if getattr(options, name)]


def datasets_of(options: argparse.Namespace, settings: Settings) -> "list[DatasetSpec]":
    """The files that were named, and the votes as one more.

    Raises: UserError if there is nothing, or what is said of the files does not fit together.
    """
    if not options.votes:
        return _named(options)
    from llm_app.data.mix import DatasetSpec
    from llm_app.votes import VoteBook

    # What is said of columns and weights is said of the files that were named.
    named = _named(options) if options.data else []
    return [*named, DatasetSpec(str(VoteBook.of(settings).write_pairs()))]


def _named(options: argparse.Namespace) -> "list[DatasetSpec]":
    if not options.data:
        raise UserError("Name at least one file of examples: --data FILE", param="data")
    weights = options.weights or [1.0] * len(options.data)
    if len(weights) != len(options.data):
        raise UserError(f"--weights takes a number a file: {len(options.data)}, not {len(weights)}.", param="weights")
    files = [Path(name).expanduser().absolute() for name in options.data]
    return [spec for file, weight in zip(files, weights, strict=True) for spec in _specs(options, file, weight)]


def _specs(options: argparse.Namespace, path: Path, weight: float) -> "list[DatasetSpec]":
    from llm_app.data.dataset_info import FILE_NAME, read_specs
    from llm_app.data.mix import DatasetSpec

    if path.name != FILE_NAME:
        return [DatasetSpec(str(path), _mapping(options, path), weight)]
    specs, notes = read_specs(path, options.sets)
    for note in notes:
        print(note, file=sys.stderr)
    return [dataclasses.replace(spec, weight=weight) for spec in specs]


def _mapping(options: argparse.Namespace, path: Path) -> "Mapping | None":
    """What was said of the columns, over what is found out; None where nothing was said."""
    from llm_app.data.formats import Mapping, detect
    from llm_app.data.read import read_file
    from llm_app.data.table import Limits

    changes = _changes(options)
    if options.mapping:
        return dataclasses.replace(Mapping.from_json(_read_json(Path(options.mapping).expanduser())), **changes)
    if not changes and not options.layout:
        return None
    found = detect(read_file(path, limits=Limits(n_first=200)))
    if options.layout not in (None, found.layout):
        found = Mapping(options.layout)
    return Mapping.from_json({**found.to_json(), **changes})


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for text in options.columns:
        what, is_named, name = text.partition("=")
        if not is_named:
            raise UserError(f"--columns takes WHAT=NAME, such as prompt=question, not {text}.", param="columns")
        changes[what] = name or None
    if options.split_at is not None:
        changes["split_at"] = options.split_at.replace("\\n", "\n")
    return changes | ({"is_chat": False} if options.raw else {})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no readable JSON ({error}).", param="mapping") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is no JSON object.", param="mapping")
    return found
