"""The command line: chat, benchmark, compare, train, serve. Others script against it: names and exit codes stay.

Exit codes: 0 done, 1 failure of this program or machine, 2 the caller can mend it, 130 Ctrl+C.
Nothing heavy is imported before a command needs it: `--help` answers at once.
"""

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from llm_app import (
    __version__,
    benchmark_cli,
    classify_cli,
    compare_cli,
    export_cli,
    helped_cli,
    perplexity_cli,
    report_cli,
    ruler_cli,
    runs_cli,
    search_cli,
    train_cli,
)
from llm_app.config import ModelConfig, SamplingConfig, ServeConfig, Settings, quiet_environment
from llm_app.errors import UserError
from llm_app.flags import add_flags, read_flags
from llm_app.logs import configure_logging

FAILURE, CALLER_ERROR, INTERRUPTED = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """Says in one line what it did not understand; the usage of thirty flags would hide it."""

    def error(self, message: str) -> NoReturn:
        self.exit(CALLER_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    about = "Chat with a language model, measure it, tune it, serve it, list the models."
    parser = _Parser(prog="llm_app", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"proofbench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    chat = commands.add_parser("chat", help="Chat in the terminal, or answer one message.", allow_abbrev=False)
    chat.add_argument("--message", metavar="TEXT", help="Answer this and end; stdout holds the answer only.")
    chat.add_argument("--system", metavar="TEXT", help="System prompt.")
    chat.add_argument("--verbose", action="store_true", help="Speed, tokens and seed on stderr; where it failed.")
    add_flags(chat, ModelConfig, "model")
    add_flags(chat, SamplingConfig, "sampling")

    benchmark_cli.add_parser(commands)
    compare_cli.add_parser(commands)
    report_cli.add_parser(commands)
    perplexity_cli.add_parser(commands)
    ruler_cli.add_parser(commands)
    runs_cli.add_parsers(commands)
    train_cli.add_parser(commands)
    search_cli.add_parser(commands)
    helped_cli.add_parser(commands)
    export_cli.add_parsers(commands)
    classify_cli.add_parser(commands)

    serve = commands.add_parser("serve", help="Start the page and the API on one port.", allow_abbrev=False)
    serve.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(serve, ServeConfig, "server")
    add_flags(serve, ModelConfig, "model loaded at start")

    models = commands.add_parser("models", help="List the models and adapters of this machine.", allow_abbrev=False)
    models.add_argument("--fetch", metavar="ORG/MODEL", help="First fetch this model from the Hugging Face hub.")
    models.add_argument("--json", action="store_true", help="As JSON.")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    quiet_environment()
    parser = build_parser()
    options = parser.parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
    is_verbose = getattr(options, "verbose", False)
    configure_logging(logging.INFO if is_verbose else logging.WARNING)
    try:
        return _COMMANDS[options.command](options)
    except UserError as error:
        print(error.message, file=sys.stderr)
        return CALLER_ERROR if error.status < 500 else FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except Exception as error:
        print(f"Something went wrong in this program: {type(error).__name__}: {error}", file=sys.stderr)
        print(traceback.format_exc() if is_verbose else "With --verbose it says where.", file=sys.stderr)
        return FAILURE


def _joined(arguments: Sequence[str]) -> list[str]:
    """With a command of two words, such as `classify train`, as one."""
    both = " ".join(arguments[:2])
    return [both, *arguments[2:]] if both in _COMMANDS else list(arguments)


def _chat(options: argparse.Namespace) -> int:
    model = read_flags(options, ModelConfig)
    sampling = read_flags(options, SamplingConfig)
    settings = Settings.from_environment()
    from llm_app.engine.catalog import check_model

    check_model(model.model, settings)  # a mistyped name is told before torch is imported
    from llm_app.terminal import Terminal

    terminal = Terminal(model, sampling, settings, is_verbose=options.verbose)
    if options.message is None:
        return terminal.talk(options.system)
    return terminal.answer(options.message, options.system)


def _serve(options: argparse.Namespace) -> NoReturn:
    config = read_flags(options, ServeConfig)
    model = read_flags(options, ModelConfig)
    from llm_app.serve import serve

    serve(config, model, Settings.from_environment())


def _models(options: argparse.Namespace) -> int:
    from llm_app.engine.catalog import download, list_adapters, list_models

    settings = Settings.from_environment()
    if options.fetch is not None:
        for fraction in download(options.fetch, settings):
            print(f"fetched {fraction:.0%} of {options.fetch}", file=sys.stderr, flush=True)
    models, adapters = list_models(settings), list_adapters(settings)
    if options.json:
        print(json.dumps({
            "models": [{"name": m.name, "kind": m.kind, "title": m.title, "path": str(m.path)} for m in models],
            "adapters": [{"name": a.name, "base": a.base, "path": str(a.path)} for a in adapters],
        }, ensure_ascii=False, indent=2))
        return 0
    rows = [(m.name, m.kind, m.title) for m in models] + [(a.name, "adapter", f"for {a.base}") for a in adapters]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for name, kind, title in rows:
        print(f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {title}".rstrip())
    return 0


_COMMANDS = {
    "chat": _chat, "benchmark": benchmark_cli.run, "compare": compare_cli.run,
    "report": report_cli.run,
    "perplexity": perplexity_cli.run, "precisions": ruler_cli.run, "runs": runs_cli.run,
    "doctor": runs_cli.run_doctor, "serve": _serve, "models": _models,
    "train": train_cli.run, "search": search_cli.run, "helped": helped_cli.run,
    "merge": export_cli.run_merge, "export": export_cli.run_export, **classify_cli.COMMANDS,
}
