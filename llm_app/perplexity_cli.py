"""The command `perplexity`: how well a model predicts a text file; the figures on stdout, progress on stderr."""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from llm_app.config import ModelConfig, Settings
from llm_app.errors import UserError
from llm_app.flags import add_flags, read_flags


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "perplexity", help="How well a model predicts a text file.", allow_abbrev=False
    )
    parser.add_argument("file", metavar="FILE", help="Text in UTF-8; - is stdin.")
    parser.add_argument(
        "--window", type=int, metavar="N", help="Tokens of one pass, context included (default: the model's context)."
    )
    parser.add_argument("--stride", type=int, metavar="N", help="Tokens the window moves on (default: half of it).")
    parser.add_argument("--json", action="store_true", help="As JSON.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_flags(parser, ModelConfig, "model")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings, config = Settings.from_environment(), read_flags(options, ModelConfig)
    text = read_text(options.file)
    from llm_app.engine.host import Host
    from llm_app.jobs.perplexity import TextScore, WindowScored, score_text

    host = Host(settings)
    try:
        for progress in host.load(config):
            show(f"{progress.phase} {progress.fraction:.0%}")
        for event in score_text(host, text, window=options.window, stride=options.stride, adapter=host.adapter):
            if isinstance(event, WindowScored):
                show(f"window {event.done} of {event.total}")
            else:
                show("")
                score: TextScore = event
        about = {"model": host.loaded.entry.name, "adapter": host.adapter, "precision": host.loaded.precision}
    finally:
        host.shutdown(grace_seconds=0)
    figures: dict[str, Any] = dict(score.figures)
    if options.json:
        figures = {name: value if math.isfinite(value) else str(value) for name, value in figures.items()}
        cut = {"window": score.window, "stride": score.stride, "n_windows": score.n_windows}
        print(json.dumps({**about, **figures, "loglikelihood": score.loglikelihood, **cut}, indent=2))
        return 0
    print(f"token perplexity  {figures['token_perplexity']:.4f}   (of this tokenizer; {figures['n_tokens']:,} tokens)")
    print(f"word perplexity   {figures['word_perplexity']:.4f}   (words between white space; {figures['n_words']:,})")
    print(f"byte perplexity   {figures['byte_perplexity']:.4f}   ({figures['n_bytes']:,} bytes of UTF-8)")
    print(f"bits per byte     {figures['bits_per_byte']:.4f}")
    print(f"window {score.window:,}, stride {score.stride:,}, {score.n_windows:,} windows; every token counts once")
    return 0


def read_text(path: str) -> str:
    """A text file, or what stands on stdin for "-".

    Raises: UserError if there is no such file, or it is not UTF-8.
    """
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).expanduser().read_bytes()
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start:,}). Convert it first.", param="file") from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.", param="file") from error


def show(text: str) -> None:
    """A passing line on a terminal; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
