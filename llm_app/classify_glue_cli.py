"""The command `classify glue`: GLUE's tasks by fine-tuning and by prompt, a line a task and method on stdout."""

import argparse
import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llm_app.classify.config import ClassifierConfig
from llm_app.classify_train_cli import follow
from llm_app.config import ModelConfig, Settings
from llm_app.errors import Cancelled, UserError
from llm_app.flags import add_flags, read_flags
from llm_app.spoken import progress, say
from llm_app.train_cli import INTERRUPTED

if TYPE_CHECKING:
    from llm_app.jobs.classify import Classification
    from llm_app.jobs.glue import GlueScore, GlueTask

DECIDED = ("validation", "test")  # options that GLUE's own files decide
GOES_ON = "the same command plus --resume"


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "glue", help="Fine-tune on the tasks of GLUE, and report its metrics.", allow_abbrev=False
    )
    parser.add_argument("--tasks", required=True, metavar="NAMES", help="Such as cola,sst2,mrpc,stsb.")
    parser.add_argument("--limit", type=int, metavar="N", help="Only the first N rows of each file.")
    parser.add_argument("--model", metavar="BASE", help="The encoder, for lora the chat model (default: embedded).")
    parser.add_argument(
        "--zero-shot", nargs="?", const=ModelConfig().model, metavar="CHAT",
        help="Also ask a chat model by prompt, without any training (default: the embedded one).",
    )
    parser.add_argument(
        "--resume", action="store_true",
        help="Go on where the same command was interrupted; what is done is scored, not done again.",
    )
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
    from llm_app.jobs.glue import check_chat, glue_tasks

    tasks = glue_tasks([name.strip() for name in options.tasks.split(",") if name.strip()])
    if options.zero_shot is not None:  # before a training of hours
        check_chat(options.zero_shot, settings)
    scores: list[GlueScore] = []
    try:
        for task in tasks:
            say(f"GLUE {task.name}")
            for found in _scores(task, config, settings, options):
                scores.append(found)
                if not options.json:  # each as soon as it is there: a task may take an hour
                    print(_line(found), flush=True)
    except (Cancelled, KeyboardInterrupt):
        return INTERRUPTED
    finally:  # what is done is told, however the rest ends
        if options.json:
            print(json.dumps([_plain(score) for score in scores], indent=2), flush=True)
    return 0


def _scores(
    task: "GlueTask", config: ClassifierConfig, settings: Settings, options: argparse.Namespace
) -> "Iterator[GlueScore]":
    """Each method's on the rows of a task. Raises: Cancelled, KeyboardInterrupt once it was told how it goes on."""
    from llm_app.jobs.glue import further_scores, glue_scores, glue_training
    from llm_app.jobs.store import describe

    training = glue_training(
        task, config, settings, base=options.model, n_rows=options.limit, resumes=options.resume
    )
    folder = training.folder
    if describe(folder).status == "done":
        say(f"run {folder.id} is done already")
    elif not follow(training, goes_on=GOES_ON):
        raise Cancelled(f"Run {folder.id} was stopped.")
    yield from glue_scores(task, folder)
    try:
        yield from further_scores(task, folder, settings, n_rows=options.limit)
    except UserError as error:  # what was trained stays, and what it came to
        say(error.message)
    if options.zero_shot is not None:
        yield from _prompted(task, settings, options)


def _prompted(task: "GlueTask", settings: Settings, options: argparse.Namespace) -> "Iterator[GlueScore]":
    from llm_app.jobs.glue import prompted, prompted_parts, prompted_scores

    if not task.words:
        say(f"{task.name} asks for a number, and a chat model chooses among labels: no line for it")
    for name, part in prompted_parts(task, settings):
        with prompted(task, part, options.zero_shot, settings, n_rows=options.limit, resumes=options.resume) as run:
            _ask(run, name)
        yield from prompted_scores(task, name, run)


def _ask(run: "Classification", name: str) -> None:
    if run.n_done == run.n_total:
        say(f"{name} by prompt: run {run.folder.id} is done already")
        return
    say(f"{name} by prompt: run {run.folder.id}, {run.n_total:,} rows; if it is interrupted: {GOES_ON}")
    try:
        with contextlib.closing(run.run()) as steps:
            for line in progress((step.done, step.total) for step in steps):
                say(line, is_last=False)
    except KeyboardInterrupt:
        say(f"interrupted at {run.n_done:,}/{run.n_total:,}; go on with {GOES_ON}")
        raise


def _line(found: "GlueScore") -> str:
    score = found.score
    interval = "" if math.isnan(score.low) else f"  95 % [{score.low:.4f}, {score.high:.4f}]"
    return f"{found.task:<7} {found.method:<9} {found.metric:<8} {score.estimate:.4f}{interval}  n = {found.n:,}"


def _plain(found: "GlueScore") -> dict[str, Any]:
    values = dataclasses.asdict(found)
    score = {name: None if isinstance(end, float) and math.isnan(end) else end for name, end in values["score"].items()}
    return {**values, "score": score}
