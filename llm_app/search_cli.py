"""The command `search`: settings of `train` tried one after the other; the leaderboard goes to stdout."""

import argparse
import contextlib
import json
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_app.config import ModelConfig, Settings
from llm_app.data_flags import add_data_flags, datasets_of, given_data_flags
from llm_app.errors import Cancelled, UserError
from llm_app.flags import add_flags, flag_of, read_flags
from llm_app.options import options_of
from llm_app.spoken import say
from llm_app.training.compare_configs import non_defaults
from llm_app.training.config import TrainConfig
from llm_app.training.search_config import SearchConfig
from llm_app.training.search_space import Params, parse_space

if TYPE_CHECKING:
    from llm_app.jobs.search import Progress, Search

LINE_SECONDS = 10.0  # between lines that say how far it is, where nobody watches a terminal
INTERRUPTED = 130
BUDGET = ("trials", "minutes")  # what a search that goes on may be given anew


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "search", help="Search for good settings of `train`: a grid, by chance, or Bayesian.", allow_abbrev=False
    )
    item, info = options_of(ModelConfig)[0]
    parser.add_argument("--model", metavar="TEXT", help=f"{info.help[0]} (default {item.default})")
    add_data_flags(parser)
    parser.add_argument("--name", metavar="NAME", help="What the best adapter is called among those of this machine.")
    parser.add_argument("--output", metavar="DIR", help="Gets leaderboard.json, and adapter/ of the best trial.")
    add_search_flags(parser, TrainConfig)


def add_search_flags(parser: argparse.ArgumentParser, config: type[Any]) -> None:
    """What every search takes. `config`: the options of a trial."""
    parser.add_argument(
        "--resume", metavar="RUN", help="Go on with a search; with one that is over, by more --trials or --minutes."
    )
    parser.add_argument("--json", action="store_true", help="The leaderboard as JSON.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, SearchConfig, "search")
    add_flags(parser, config, "training, the same in all trials but for what is searched")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings = Settings.from_environment()
    if options.resume is None:
        search = _start(options, settings)
    else:
        given = given_data_flags(options) + [name for name in ("model", "name", "output") if getattr(options, name)]
        search = resumed(options, TrainConfig, given, settings)
    code = follow(search)
    _report(search, as_json=options.json)
    return code


def _start(options: argparse.Namespace, settings: Settings) -> "Search":
    config, asked = read_flags(options, TrainConfig), read_flags(options, SearchConfig)
    parse_space(asked.space, TrainConfig)  # a mistyped option is told before files are read
    datasets = datasets_of(options, settings)
    from llm_app.jobs.train_search import start_search

    output = None if options.output is None else Path(options.output).expanduser().absolute()
    model = options.model or ModelConfig().model
    return start_search(model, datasets, config, asked, settings, name=options.name, output=output)


def resumed(options: argparse.Namespace, config: type[Any], given: Sequence[str], settings: Settings) -> "Search":
    """The search to go on with. `given`: flags of a new one. Raises: UserError for them, or where it cannot go on."""
    described = [*options_of(SearchConfig), *options_of(config)]
    chosen = [item.name for item, _ in described if hasattr(options, item.name)]
    given = [*given, *(name for name in chosen if name not in BUDGET)]
    if given:
        flags = ", ".join(map(flag_of, given))
        raise UserError(f"A resumed search keeps its own options; leave out {flags}.", param=given[0])
    asked = read_flags(options, SearchConfig)
    budget = {name: getattr(asked, name) for name in chosen}
    from llm_app.jobs.store import RunStore
    from llm_app.jobs.train_search import resume_search

    return resume_search(RunStore.of(settings).open(options.resume), settings, budget=budget)


def follow(search: "Search") -> int:
    """All trials that are left, a line for each; gives the exit code."""
    run_id, before = search.folder.id, f"resumed at {search.n_done}/" if search.history else "up to "
    say(f"search {run_id}, {before}{search.n_total} trials; if interrupted: --resume {run_id}")
    # An end in good order, as after Ctrl+C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shown, pause = 0.0, 0.2 if sys.stderr.isatty() else LINE_SECONDS
    try:
        with contextlib.closing(search.run()) as steps:
            for progress in steps:
                is_over = progress.trial.state != "running"
                if is_over or time.monotonic() - shown >= pause:
                    shown = time.monotonic()
                    say(_line(progress), is_last=is_over)
    except (Cancelled, KeyboardInterrupt):
        say(f"interrupted at {search.n_done}/{search.n_total}; go on with --resume {search.folder.id}")
        return INTERRUPTED
    return 0


def _line(progress: "Progress") -> str:
    from llm_app.jobs.leaderboard import WORDS, cell

    trial = progress.trial
    params = " ".join(f"{name}={cell(value)}" for name, value in trial.params.items())
    best = "" if trial.best is None else f", validation {trial.metric} {trial.best_value:.4f} at step {trial.best[0]}"
    state = f"step {trial.n_steps}" if trial.state == "running" else WORDS[trial.state]
    reason = f": {trial.reason}" if trial.reason else ""
    return f"[{progress.done}/{progress.total}] {params}: {state}{best}{reason}"


def _report(search: "Search", *, as_json: bool) -> None:
    """The leaderboard, and the command that trains the best once more."""
    from llm_app.jobs.folder import write_whole
    from llm_app.jobs.leaderboard import as_markdown, leaderboard
    from llm_app.training.search_trials import leader

    rows, spec = leaderboard(search.history), search.folder.spec()
    text = json.dumps(rows, indent=2, ensure_ascii=False)
    if spec["output"] is not None:
        write_whole(Path(spec["output"]) / "leaderboard.json", text + "\n")
    print(text if as_json else as_markdown(rows), flush=True)
    best = leader(search.history)
    if best is not None:
        say(f"the best again: {train_command(search, best.params)}")


def train_command(search: "Search", params: Params) -> str:
    """The command `train` with the settings of a trial, for a shell."""
    from llm_app.jobs.train import config_of

    spec = search.folder.spec()
    config = config_of({**spec, "config": {**spec["config"], **params}})
    datasets = spec["datasets"]
    arguments = [f"--model={spec['model']['name']}", "--data", *(data["path"] for data in datasets)]
    if any(data["weight"] != 1 for data in datasets):
        arguments += ["--weights", *(f"{data['weight']:g}" for data in datasets)]
    mapping = next((data["mapping"] for data in datasets if data.get("mapping")), None)
    if mapping is not None:  # the flags that made it are not kept, what came of them is
        arguments.append(f"--mapping={search.folder.write('mapping.json', json.dumps(mapping, ensure_ascii=False))}")
    return shlex.join(["python", "-m", "llm_app", "train", *arguments, *option_arguments(config)])


def option_arguments(config: Any) -> list[str]:
    """The flags of all options that are not at their default."""
    arguments = []
    for name, value in non_defaults(config).items():
        if isinstance(value, bool):
            arguments.append(flag_of(name) if value else flag_of(name).replace("--", "--no-", 1))
        elif isinstance(value, tuple):
            arguments += [flag_of(name), *value]
        else:
            arguments.append(f"{flag_of(name)}={value}")
    return arguments
