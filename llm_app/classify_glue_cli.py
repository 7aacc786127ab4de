"""The command `classify glue`: GLUE's tasks by fine-tuning, a line a task and method on stdout."""

import argparse
import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

from llm_app.classify.config import ClassifierConfig
from llm_app.classify_train_cli import follow
from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.flags import add_flags, read_flags
from llm_app.spoken import say
from llm_app.train_cli import INTERRUPTED

if TYPE_CHECKING:
    from llm_app.jobs.glue import GlueScore

DECIDED = ("validation", "test")  # options that GLUE's own files decide


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "glue", help="Fine-tune on the tasks of GLUE, and report its metrics.", allow_abbrev=False
    )
    parser.add_argument("--tasks", required=True, metavar="NAMES", help="Such as cola,sst2,mrpc,stsb.")
    parser.add_argument("--limit", type=int, metavar="N", help="Only the first N rows of each file.")
    parser.add_argument("--model", metavar="BASE", help="The encoder, for lora the chat model (default: embedded).")
    parser.add_argument("--json", action="store_true", help="The scores as JSON.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, ClassifierConfig, "training")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    for name in DECIDED:
        if hasattr(options, name):
            raise UserError(f"GLUE comes with its own validation rows: leave out --{name}.", param=name)
    if options.limit is not None and options.limit < 2:
        raise UserError("--limit takes at least 2 rows.", param="limit")
    config, settings = read_flags(options, ClassifierConfig), Settings.from_environment()
    from llm_app.jobs.glue import glue_scores, glue_tasks, start_glue

    scores: list[GlueScore] = []
    for task in glue_tasks([name.strip() for name in options.tasks.split(",") if name.strip()]):
        say(f"GLUE {task.name}")
        training = start_glue(task, config, settings, base=options.model, n_rows=options.limit)
        if not follow(training):
            return INTERRUPTED
        found = list(glue_scores(task, training.folder))
        scores += found
        if not options.json:  # each as soon as it is there: a task may take an hour
            print("\n".join(map(_line, found)), flush=True)
    if options.json:
        print(json.dumps([_plain(score) for score in scores], indent=2), flush=True)
    return 0


def _line(found: "GlueScore") -> str:
    score = found.score
    interval = "" if math.isnan(score.low) else f"  95 % [{score.low:.4f}, {score.high:.4f}]"
    return f"{found.task:<5} {found.method:<8} {found.metric:<8} {score.estimate:.4f}{interval}  n = {found.n:,}"


def _plain(found: "GlueScore") -> dict[str, Any]:
    values = dataclasses.asdict(found)
    score = {name: None if isinstance(end, float) and math.isnan(end) else end for name, end in values["score"].items()}
    return {**values, "score": score}
